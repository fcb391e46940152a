"""Random search under the targets, rounds and drops of netAdapt: what its choices have to beat."""

from __future__ import annotations

import random

from fednas.models import Architecture
from fednas.search._shrinking import ShrinkingSearch, candidate
from fednas.search._strategy import Candidate, Problem
from fednas.seeds import derive_seed
from fednas.space import Space, thin
from fednas.spec import Random

__all__ = ["RandomSearch"]


class RandomSearch(ShrinkingSearch):
    """Each candidate thins every group by a rate of its own, drawn from the seed.

    Parameters
    ----------
    settings : Random
        ``strategy.random`` of the spec.
    """

    def __init__(self, settings: Random) -> None:
        super().__init__(settings)
        self._count = settings.candidates

    def num_candidates(self, space: Space) -> int:
        """As the spec says."""
        return self._count

    def candidates(
        self, problem: Problem, iteration: int, network: Architecture, target: float
    ) -> tuple[Candidate, ...]:
        """Widths in proportion to uniform draws, scaled to meet the target."""
        space, found = problem.space, []
        for index in range(self._count):
            draw = random.Random(derive_seed(problem.seed, "random", iteration, index))  # noqa: S311
            rates = {group.name: draw.random() for group in space.groups}
            widths = thin(
                space, network.widths, lambda w: problem.resource.cost(space, w), target, rates
            )
            if widths != network.widths:
                name = f"random-{index}"
                found.append(candidate(problem, name, index, network, widths, target))
        return tuple(found)
