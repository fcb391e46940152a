"""The ``fednas`` command in this process, and run folders to give it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fednas.cli import main
from fednas.search import View
from fednas.store import canonical_json
from tests.unit.tracking.conftest import recorded, recorded_search, write_journal


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own: a search writes into the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fednas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line; no traceback may ever be shown."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["fednas", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(int(left.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A search that has ended."""
    folder = tmp_path / "runs" / "small"
    write_journal(folder)
    (folder / "ladder").mkdir()
    spec = canonical_json(recorded_search().to_dict())
    (folder / "ladder" / "search.json").write_bytes(spec)
    return folder


@pytest.fixture
def rung_file(run_folder: Path) -> Path:
    """A rung of it that is narrower than its start, by name, with its ladder beside it."""
    view = View(recorded())
    (run_folder / "ladder" / "ladder.json").write_bytes(canonical_json(view.ladder_rows))
    file = run_folder / "ladder" / view.ladder[3].file
    file.write_bytes(b"only fednas run reads the weights themselves")
    return file


@pytest.fixture
def spec_file(run_folder: Path) -> Path:
    """The file that the search was run from; JSON is YAML."""
    path = run_folder.parents[1] / "small.yaml"
    path.write_bytes((run_folder / "ladder" / "search.json").read_bytes())
    return path
