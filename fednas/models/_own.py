"""A network of one's own: a function that is found by its name and called for any widths.

The contract is one function, ``build(channels, size, classes, widths) -> nn.Module``: images
[n, channels, size, size] to logits [n, classes], with one width for each group of filters that
can only be cut together, in forward order. Its weights are drawn by `initialise`, so that they
do not depend on torch's generator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from fednas.errors import BadInput
from fednas.own import find, first_line

__all__ = ["call", "own_network"]

Network = Callable[[int, int, int, tuple[int, ...]], object]

FIELD = "spec.model.module"
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
    found = find(name, FIELD, "function")
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


def _wrong(name: str, what: str) -> BadInput:
    return BadInput(f"{FIELD}: got {name!r}; {what}")
