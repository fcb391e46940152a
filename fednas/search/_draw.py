"""Drawing clients for a round."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["draw_clients"]


def draw_clients(clients: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    """``count`` different clients (all, if there are fewer), in sorted order; a pure function.

    `random.Random` gives the same draw for a seed on every platform and Python version.
    """
    drawn = random.Random(seed).sample(sorted(clients), min(count, len(clients)))  # noqa: S311
    return tuple(sorted(drawn))
