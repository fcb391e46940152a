from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fednas.cli._credentials import await_change

STARTED = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "first"}


def write(folder: Path, secret: str | None) -> None:
    (folder / "AWS_ACCESS_KEY_ID").write_text("user")
    path = folder / "AWS_SECRET_ACCESS_KEY"
    path.unlink(missing_ok=True)
    if secret is not None:
        path.write_text(secret)


def soon(seconds: float) -> threading.Event:
    """Set after so long: nobody waits for ever for what is not seen."""
    closed = threading.Event()
    timer = threading.Timer(seconds, closed.set)
    timer.daemon = True
    timer.start()
    return closed


def test_a_secret_that_is_rotated_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "first")
    threading.Timer(0.1, write, (tmp_path, "second")).start()
    assert await_change(tmp_path, STARTED, soon(5.0), seconds=0.01)


@pytest.mark.parametrize("secret", ["first", None])
def test_a_secret_that_is_as_it_was_or_on_its_way_is_no_change(
    tmp_path: Path, secret: str | None
) -> None:
    write(tmp_path, secret)
    assert not await_change(tmp_path, STARTED, soon(0.1), seconds=0.01)


def test_a_folder_that_is_not_there_is_no_change(tmp_path: Path) -> None:
    closed = threading.Event()
    closed.set()
    assert not await_change(tmp_path / "none", STARTED, closed)


def test_a_session_s_token_that_is_renewed_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "first")
    (tmp_path / "AWS_SESSION_TOKEN").write_text("new")
    started = {**STARTED, "AWS_SESSION_TOKEN": "old"}
    assert await_change(tmp_path, started, soon(5.0), seconds=0.01)
