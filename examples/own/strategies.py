"""A strategy of one's own: netAdapt, but each candidate cuts two neighbouring groups of layers."""

from itertools import pairwise
from typing import Any

from fednas.models import Architecture
from fednas.search import Candidate, Problem, ShrinkingSearch, candidate
from fednas.spec import Choosing, settings_of


class Pairs(ShrinkingSearch):
    """Both groups of a pair lose the same share of their filters, as little as meets the target.

    Arguments: ``levels``, how many shares are tried, and any of those of ``strategy.netAdapt`` but
    ``filterStep``.
    """

    def __init__(self, levels: int = 16, **settings: Any) -> None:
        super().__init__(settings_of(Choosing, settings))
        self.levels = levels

    def candidates(
        self, problem: Problem, iteration: int, network: Architecture, target: float
    ) -> tuple[Candidate, ...]:
        """One a pair; where none meets the target, each cut as far as it goes."""
        found = []
        for index, pair in enumerate(pairwise(problem.space.groups)):
            widths = list(network.widths)
            for level in range(self.levels - 1, 0, -1):
                for one in (group.choice for group in pair):
                    widths[one] = max(1, network.widths[one] * level // self.levels)
                if problem.resource.cost(problem.space, widths) <= target:
                    break
            if tuple(widths) != network.widths:
                name = f"{pair[0].name}-{pair[1].name}"
                found.append(candidate(problem, name, index, network, widths, target))
        return tuple(one for one in found if one.reached_target) or tuple(found)
