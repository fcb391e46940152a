"""``fednas run --from TARGET --rung N``: the start weights that a rung of another search is.

Nothing but a value of ``model.initial.weights``, which a file for a cluster may hold as well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.errors import BadInput

if TYPE_CHECKING:
    from fednas.result import LadderRung
    from fednas.search import View

__all__ = ["advice", "check_folder", "rung_of", "setting"]


def rung_of(target: str, number: int | None) -> LadderRung:
    """The rung of that number of a run folder or bucket; the last, the smallest, if it is None.

    Raises
    ------
    BadInput
        There is no such search or rung.
    """
    from fednas.result import open_target

    try:
        ladder = open_target(target).ladder
    except BadInput as error:
        raise BadInput(f"--from: {str(error).removeprefix('target: ')}") from None
    if not ladder:
        raise BadInput(f"--from: {target}: has no rung yet")
    if number is None:
        return ladder[-1]
    if number >= len(ladder):
        raise BadInput(
            f"--rung: got {number}; must be one of those of {target}: 0 to {len(ladder) - 1}"
        )
    return ladder[number]


def setting(rung: LadderRung) -> str:
    """The override of the spec that starts from a rung."""
    return f"model.initial.weights={json.dumps(rung.uri)}"  # JSON is YAML, whatever the path


def check_folder(folder: Path, rung: LadderRung) -> None:
    """A search that has begun already, and from elsewhere, would be shown in place of a new one.

    Raises
    ------
    BadInput
        The run folder holds such a search.
    """
    start = _view(folder).start
    if start is not None and start.weights != rung.sha256:
        raise BadInput(
            f"--from: {folder} holds a search that did not start from this rung; "
            f"give a new folder, such as --dir {_beside(folder, rung.rung)}"
        )


def advice(folder: Path) -> str:
    """How to go on by another spec from what lies in a run folder; empty if nothing does."""
    ladder = _view(folder).ladder
    if not ladder:
        return ""
    last = ladder[-1].rung
    return (
        "\nto go on from one of its networks by the new spec: "
        f"--from {folder} --rung {last} --dir {_beside(folder, last)}"
    )


def _view(folder: Path) -> View:
    """What the journal of a run folder holds; of one that is none, nothing."""
    from fednas.search import View, read_all
    from fednas.store import FolderStore, Journal, Layout

    return View(read_all(Journal(FolderStore(folder.absolute()), Layout().journal)))


def _beside(folder: Path, rung: int) -> Path:
    """A name for the folder of a search that starts from a rung."""
    return folder.with_name(f"{folder.absolute().name}-from-{rung}")
