"""Thinning every layer alike: the width multiplier of MobileNet (arXiv 1704.04861), on any network.

It costs nothing but a bisection, and is what every search has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fednas.space._space import Space

__all__ = ["thin"]

_PARTS = 1 << 16


def thin(
    space: Space,
    widths: Sequence[int],
    cost: Callable[[Sequence[int]], int],
    limit: float,
    rates: Mapping[str, float] | None = None,
) -> tuple[int, ...]:
    """The widest thinned network that costs no more than ``limit``.

    Every group keeps a share ``1 - x r`` of its filters, rounded and at least one, with the
    smallest ``x`` in 0 to 1 that suffices; where none does, with ``x = 1``.

    Parameters
    ----------
    widths : sequence of int
        Of the network that is thinned; groups that were left out keep theirs.
    cost : callable
        Widths -> cost; no network of fewer filters may cost more.
    rates : mapping, optional
        Group -> its rate ``r`` in 0 to 1; 1 for all: thinned alike.
    """

    def thinned(parts: int) -> tuple[int, ...]:
        found = list(widths)
        for group in space.groups:
            rate = 1.0 if rates is None else rates[group.name]
            share = 1 - parts / _PARTS * rate
            found[group.choice] = max(1, int(widths[group.choice] * share + 0.5))
        return tuple(found)

    low, high = 0, _PARTS
    while low < high:
        middle = (low + high) // 2
        if cost(thinned(middle)) <= limit:
            high = middle
        else:
            low = middle + 1
    return thinned(low)
