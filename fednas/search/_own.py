"""A search strategy of one's own: a class that is found by its name and called with its arguments.

Its code is not in the journal, only its name and arguments: a search that goes on after a change
of it decides anew, from the same values.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from fednas.errors import BadInput, SpecError
from fednas.federation import FINAL, INITIAL
from fednas.own import find, first_line
from fednas.search._strategy import Strategy
from fednas.spec import Module

__all__ = ["own_strategy"]

PATH, ARGS = "spec.strategy.module.path", "spec.strategy.module.args"
METHODS = ("num_groups", "progress", "search")
WANTED = "must give a strategy: phases, iterations, num_groups, progress and search"


def own_strategy(settings: Module) -> Strategy:
    """The strategy of a name, made with its arguments.

    Parameters
    ----------
    settings : Module
        ``strategy.module`` of the spec.

    Raises
    ------
    BadInput
        There is no such module or class, it refuses the arguments, or it is no strategy.
    """
    make = find(settings.path, PATH, "class")
    if not isinstance(make, type):
        raise _wrong(settings, f"is no class but {type(make).__name__}; {WANTED}")
    # Before it is called: whoever may write a spec shall not call subprocess:Popen by it.
    if lacking := [name for name in METHODS if not callable(getattr(make, name, None))]:
        raise _wrong(settings, f"has no method {lacking[0]}; {WANTED}")
    try:
        made = make(**copy.deepcopy(settings.args))
    except SpecError as error:
        lines = (line if line.startswith(":") else f".{line}" for line in error.problems)
        raise SpecError([f"{ARGS}{line}" for line in lines]) from None
    except Exception as error:
        raise BadInput(
            f"{ARGS}: got {_shown(settings.args)}; {settings.path} refuses them "
            f"({first_line(error)}); must be keyword arguments that it takes"
        ) from error
    if problem := _problem(made):
        raise _wrong(settings, f"{problem}; {WANTED}")
    strategy: Strategy = made
    return strategy


def _problem(made: Any) -> str | None:
    """What of its attributes is not as a strategy's, if anything."""
    for name in ("phases", "iterations"):
        if not hasattr(made, name):
            return f"has no {name}"
    phases, most = made.phases, made.iterations
    if not isinstance(phases, tuple) or not phases or not all(map(_is_phase, phases)):
        return (
            f"its phases are {repr(phases)[:60]}, not a tuple of names of small letters, digits "
            f"and - other than {INITIAL} and {FINAL}"
        )
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        return f"its iterations are {repr(most)[:60]}, not a whole number of at least 1"
    return None


def _is_phase(name: Any) -> bool:
    """Whether it can be a part of a key in the store, and is nobody else's."""
    shaped = isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name)
    return bool(shaped) and name not in (INITIAL, FINAL)


def _shown(args: dict[str, Any]) -> str:
    text = json.dumps(args)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _wrong(settings: Module, what: str) -> BadInput:
    return BadInput(f"{PATH}: got {settings.path!r}; {what}")
