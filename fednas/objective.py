"""What is learnt and how it is scored, by a name in the spec; no torch here.

An evaluation gives sums over rows (`Objective.sums`), so that parts evaluated apart add up; a score
is a function of the sums. The loss that clients minimise has the same name in `fednas.training`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["DIVERGENCE", "OBJECTIVES", "Objective"]

DIVERGENCE = "divergence"
"""The sum that an evaluation counts besides where it is given a reference: see `evaluate`."""


@dataclass(frozen=True)
class Objective:
    """One way to score a network.

    Parameters
    ----------
    name : str
        As ``spec.objective`` says.
    sums : tuple of str
        What an evaluation has to count.
    score : callable
        The sums -> a number that is larger for a better network; 0 of nothing.
    loss : callable
        The sums -> the mean loss over the rows, smaller for a better network; it tells networks
        apart that score alike. Infinite of nothing.
    floor : callable
        Classes, share of the most frequent class -> the score of a network that learnt nothing.
    """

    name: str
    sums: tuple[str, ...]
    score: Callable[[Mapping[str, float]], float]
    loss: Callable[[Mapping[str, float]], float]
    floor: Callable[[int, float], float]

    def bar(self, floor: float) -> float:
        """What a start must score at least: a ninth of the way from the floor to 1.

        That is twice chance for ten balanced classes, .56 for two, and .91 where nine rows in ten
        have one label.
        """
        return floor + (1 - floor) / 9


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(
            name="classification",
            sums=("correct", "total", "loss"),
            score=lambda sums: sums["correct"] / sums["total"] if sums.get("total") else 0.0,
            loss=lambda sums: sums["loss"] / sums["total"] if sums.get("total") else math.inf,
            floor=lambda classes, majority: max(1 / classes, majority),
        ),
    )
}
"""Every objective by name."""
