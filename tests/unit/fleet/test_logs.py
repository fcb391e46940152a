"""What the programs that run for days write into their logs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest
import structlog

from fednas.fleet._logs import configure_logs


class Screen(io.StringIO):
    """Standard error, of a person or of a cluster."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def _own_loggers() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def fail(token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    raise ValueError(f"{len(headers)} header is too many")


@pytest.mark.usefixtures("_own_loggers")
@pytest.mark.parametrize("terminal", [False, True])
def test_a_traceback_has_files_and_lines_but_no_value_of_a_variable(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, token = Screen(terminal), "t0k3n"
    monkeypatch.setattr(sys, "stderr", screen)
    configure_logs(search="small")
    try:
        fail(token)
    except ValueError:
        structlog.get_logger("fednas.test").exception("internal error")
    said = screen.getvalue()
    assert "1 header is too many" in said
    assert "test_logs.py" in said
    assert token not in said
