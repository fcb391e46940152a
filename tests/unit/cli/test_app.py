from __future__ import annotations

import pytest

from fednas import __version__
from fednas.cli import _app
from fednas.errors import Diverged, SpecError
from tests.unit.cli.conftest import Command


def test_version(fednas: Command) -> None:
    said = fednas("version")
    assert (said.code, said.out.strip()) == (0, __version__)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", "x.yaml", "--workers", "0"],
        ["report", ".", "-o", "xml"],
        ["validate", "--nope"],
    ],
)
def test_a_wrong_command_line_is_bad_input(fednas: Command, arguments: list[str]) -> None:
    said = fednas(*arguments)
    assert said.code == 2
    assert "Usage" in said.err


def test_help_is_no_error(fednas: Command) -> None:
    assert fednas("--help").code == 0
    said = fednas("run", "--help")
    assert said.code == 0
    assert "--set" in said.out


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SpecError(["spec.seed: got x; must be a number"]), 2, "error: spec.seed: got x"),
        (Diverged("two of them"), 1, "Diverged: two of them"),
        (ModuleNotFoundError("none", name="torch"), 2, "error: this needs torch: pip install"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_error_has_its_exit_code(
    fednas: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(_app, "app", fail)
    said = fednas("run", "x.yaml")
    assert said.code == code
    assert words in said.err
