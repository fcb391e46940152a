"""No search: the network thinned alike in every layer, on the same ladder and training."""

from __future__ import annotations

from fednas.models import Architecture
from fednas.search._shrinking import ShrinkingSearch, candidate
from fednas.search._strategy import Candidate, Problem
from fednas.space import Space, thin
from fednas.spec import Choosing, Uniform

__all__ = ["UniformSearch"]


class UniformSearch(ShrinkingSearch):
    """One candidate an iteration.

    Parameters
    ----------
    settings : Uniform
        ``strategy.uniform`` of the spec.
    """

    def __init__(self, settings: Uniform) -> None:
        super().__init__(
            Choosing.model_validate({"order": "loss", **settings.model_dump(exclude_none=True)})
        )

    def num_candidates(self, space: Space) -> int:
        """One."""
        return 1

    def candidates(
        self, problem: Problem, iteration: int, network: Architecture, target: float
    ) -> tuple[Candidate, ...]:
        """The start's widths, scaled to meet the target."""
        space = problem.space
        widths = thin(space, space.start.widths, lambda w: problem.resource.cost(space, w), target)
        if widths == network.widths:
            return ()
        return (candidate(problem, "uniform", 0, network, widths, target),)
