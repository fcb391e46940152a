"""Whether credentials of the store or of MLflow have changed since the program was started.

A cluster gives them to a pod twice: as environment variables, which stay as they were, and as
files, which follow the Secret within a minute or two. Once both differ, somebody has mended or
rotated the Secret. Every worker, every signed URL and the exporter come from the old ones, so the
program starts anew; it goes on from its journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event

__all__ = ["CREDENTIALS", "await_change"]

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_SESSION = "AWS_SESSION_TOKEN"
"""Of credentials for a while; others have none."""
_MLFLOW = "MLFLOW_"

LOOK_SECONDS = 10.0


def await_change(
    folder: Path,
    environment: Mapping[str, str],
    closed: Event,
    seconds: float = LOOK_SECONDS,
    login: Path | None = None,
) -> bool:
    """Wait until the files differ from the variables; False if ``closed`` is set before.

    Parameters
    ----------
    folder : Path
        With a file for each of `CREDENTIALS`, and for the session's token if there is one, as a
        mounted Secret. While one of the first is missing nothing is taken for a change: a Secret
        that was deleted may be on its way back.
    environment : mapping
        What the program was started with.
    closed : Event
    seconds : float
        Between two looks.
    login : Path, optional
        With a file for each variable of MLflow, likewise; other files are none of the program's.
    """
    while not (_differ(folder, environment) or _login_differs(login, environment)):
        if closed.wait(seconds):
            return False
    return True


def _differ(folder: Path, environment: Mapping[str, str]) -> bool:
    try:
        found = {name: (folder / name).read_bytes() for name in CREDENTIALS}
    except OSError:
        return False
    token = folder / _SESSION
    found[_SESSION] = token.read_bytes() if token.exists() else b""
    return any(value != environment.get(name, "").encode() for name, value in found.items())


def _login_differs(folder: Path | None, environment: Mapping[str, str]) -> bool:
    try:
        files = () if folder is None else folder.glob(f"{_MLFLOW}*")
        found = {path.name: path.read_bytes() for path in files}
    except OSError:
        return False
    return any(value != environment.get(name, "").encode() for name, value in found.items())
