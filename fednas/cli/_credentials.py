"""Whether the store's credentials have changed since the program was started.

A cluster gives them to a pod twice: as environment variables, which stay as they were, and as
files, which follow the Secret within a minute or two. Once both differ, somebody has mended or
rotated the Secret. Every worker and every signed URL comes from the old ones, so the program starts
anew; it goes on from its journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event

__all__ = ["CREDENTIALS", "await_change"]

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

LOOK_SECONDS = 10.0


def await_change(
    folder: Path, environment: Mapping[str, str], closed: Event, seconds: float = LOOK_SECONDS
) -> bool:
    """Wait until the files differ from the variables; False if ``closed`` is set before.

    Parameters
    ----------
    folder : Path
        With a file for each of `CREDENTIALS`, as a mounted Secret. While one is missing nothing is
        taken for a change: a Secret that was deleted may be on its way back.
    environment : mapping
        What the program was started with.
    closed : Event
    seconds : float
        Between two looks.
    """
    while not _differ(folder, environment):
        if closed.wait(seconds):
            return False
    return True


def _differ(folder: Path, environment: Mapping[str, str]) -> bool:
    try:
        found = {name: (folder / name).read_bytes() for name in CREDENTIALS}
    except OSError:
        return False
    return any(found[name] != environment.get(name, "").encode() for name in CREDENTIALS)
