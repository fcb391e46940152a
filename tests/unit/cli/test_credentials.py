from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fednas.cli._credentials import await_change
from tests.unit.cli.conftest import Command

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


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "second", True),
        ("MLFLOW_TRACKING_PASSWORD", "first", False),
        ("MLFLOW_TRACKING_TOKEN", "new", True),
        ("ca.crt", "no variable", False),
    ],
)
def test_a_login_to_mlflow_that_is_rotated_is_seen(
    tmp_path: Path, name: str, value: str, seen: bool
) -> None:
    for folder in ("store", "login"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "store", "first")
    started = {**STARTED, "MLFLOW_TRACKING_PASSWORD": "first"}
    (tmp_path / "login" / name).write_text(value)
    closed = soon(5.0 if seen else 0.1)
    found = await_change(
        tmp_path / "store", started, closed, seconds=0.01, login=tmp_path / "login"
    )
    assert found is seen


def test_a_coordinator_looks_at_both_secrets_while_it_works(
    fednas: Command, monkeypatch: pytest.MonkeyPatch, spec_file: Path, tmp_path: Path
) -> None:
    looked: list[tuple[Path, Path]] = []
    looking = threading.Event()

    def awaited(folder: Path, *_: Any, login: Path) -> bool:
        looked.append((folder, login))
        looking.set()
        return False

    class Program:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def work(self) -> None:
            looking.wait(10)
            raise SystemExit(0)

        def close(self) -> None:
            pass

    monkeypatch.setattr("fednas.cli._credentials.await_change", awaited)
    monkeypatch.setattr("fednas.cli._coordinator.Coordinator", Program)
    monkeypatch.setattr("fednas.fleet._logs.configure_logs", lambda **_: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    folders = (tmp_path / "store", tmp_path / "login")
    asked = ("coordinate", spec_file, "--search-id", "x", "--workers", 1)
    assert fednas(*asked, "--credentials", folders[0], "--login", folders[1]).code == 0
    assert looked == [folders]
