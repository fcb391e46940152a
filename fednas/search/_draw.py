"""Drawing clients for a round."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fednas.federation import Cohort
from fednas.seeds import derive_seed

__all__ = ["draw_clients", "draw_cohort"]


def draw_clients(clients: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    """``count`` different clients (all, if there are fewer), in sorted order; a pure function.

    `random.Random` gives the same draw for a seed on every platform and Python version.
    """
    drawn = random.Random(seed).sample(sorted(clients), min(count, len(clients)))  # noqa: S311
    return tuple(sorted(drawn))


def draw_cohort(
    clients: Sequence[str], count: int, seed: int, phase: str, number: int, attempt: int
) -> Cohort:
    """Who trains in a round of a phase that has no groups; others, where there was no quorum."""
    drawn = derive_seed(seed, "cohort", phase, number, attempt)
    return Cohort(draw_clients(clients, count, drawn))
