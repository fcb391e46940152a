"""A network of one's own: a function that is found by its name and called for any widths.

The contract is one function, ``build(channels, size, classes, widths) -> nn.Module``: images
[n, channels, size, size] to logits [n, classes], with one width for each group of filters that
can only be cut together, in forward order. Its weights are drawn by `initialise`, so that they
do not depend on torch's generator.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

from torch import nn

from fednas.errors import BadInput

__all__ = ["call", "first_line", "own_network"]

Network = Callable[[int, int, int, tuple[int, ...]], object]

WANTED = "must take (channels, size, classes, widths) and give an nn.Module"


def own_network(name: str) -> Callable[[int, int, int, tuple[int, ...]], nn.Module]:
    """What builds the network of a name.

    Parameters
    ----------
    name : str
        ``package.module:function``. The module may lie in the current folder, after all else.

    Raises
    ------
    BadInput
        There is no such module or function, or it does not take these arguments.
    """
    module, _, attribute = name.partition(":")
    found = getattr(_imported(name, module), attribute, None)
    if found is None:
        near = difflib.get_close_matches(attribute, dir(sys.modules[module]), 1)
        hint = f"did you mean {near[0]}?" if near else "must name a function in it"
        raise _wrong(name, f"{module} has no {attribute}; {hint}")
    if not callable(found):
        raise _wrong(name, f"is no function but {type(found).__name__}; {WANTED}")
    try:
        inspect.signature(found).bind(3, 32, 10, (1,))
    except TypeError as error:
        raise _wrong(name, f"takes other arguments ({error}); {WANTED}") from None
    except ValueError:
        pass  # a compiled one tells no signature
    return lambda channels, size, classes, widths: call(
        name, found, channels, size, classes, widths
    )


def call(
    name: str, build: Network, channels: int, size: int, classes: int, widths: tuple[int, ...]
) -> nn.Module:
    """The network of these arguments; `BadInput` if it cannot be built."""
    try:
        network = build(channels, size, classes, widths)
    except Exception as error:
        raise _wrong(
            name,
            f"failed for ({channels}, {size}, {classes}, {widths}): {first_line(error)}; {WANTED}",
        ) from error
    if not isinstance(network, nn.Module):
        raise _wrong(name, f"gave {type(network).__name__}; {WANTED}")
    return network


def first_line(error: Exception) -> str:
    """An error of somebody else's program in at most one line."""
    text = str(error).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _imported(name: str, module: str) -> ModuleType:
    with suppress(FileNotFoundError):  # the folder was removed
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # as for `python -m`, but hiding nothing installed
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise _wrong(
                name,
                f"there is no module {error.name}; must lie in the folder where the program "
                "starts, or in the PYTHONPATH, or be installed",
            ) from None
        raise _wrong(name, f"{module} needs {error.name}, which is not installed") from None
    except Exception as error:
        raise _wrong(name, f"{module} cannot be imported ({first_line(error)})") from error


def _wrong(name: str, what: str) -> BadInput:
    return BadInput(f"spec.model.module: got {name!r}; {what}")
