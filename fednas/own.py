"""What is one's own - a network, a strategy - found by its name: ``package.module:name``.

The module lies where Python finds modules, or in the current folder. To name it in a spec is to run
it, with the rights of whoever starts the search.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

from fednas.errors import BadInput

__all__ = ["find", "first_line"]


def find(name: str, field: str, kind: str) -> Any:
    """What a name stands for.

    Parameters
    ----------
    name : str
        ``package.module:name``. The module may lie in the current folder, after all else.
    field : str
        Where it was written, for the error: ``spec.model.module``.
    kind : str
        What it should be, for the error: ``function``.

    Raises
    ------
    BadInput
        There is no such module, it cannot be imported, or it has no such name.
    """
    path, _, attribute = name.partition(":")
    try:
        module = _imported(path)
        found = getattr(module, attribute, None)
        if found is None:
            near = difflib.get_close_matches(attribute, dir(module), 1)
            hint = f"did you mean {near[0]}?" if near else f"must name a {kind} in it"
            raise BadInput(f"{path} has no {attribute}; {hint}")
    except BadInput as error:
        raise BadInput(f"{field}: got {name!r}; {error}") from error.__cause__
    return found


def first_line(error: Exception) -> str:
    """An error of somebody else's program in at most one line."""
    text = str(error).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _imported(path: str) -> ModuleType:
    with suppress(FileNotFoundError):  # the folder was removed
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # as for `python -m`, but hiding nothing installed
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and f"{path}.".startswith(f"{error.name}."):
            raise BadInput(
                f"there is no module {error.name}; must lie in the folder where the program "
                "starts, or in the PYTHONPATH, or be installed"
            ) from None
        raise BadInput(f"{path} needs {error.name}, which is not installed") from None
    except Exception as error:
        raise BadInput(f"{path} cannot be imported ({first_line(error)})") from error
