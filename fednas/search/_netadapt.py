"""NetAdapt's candidates (Yang et al., arXiv 1804.03230): one group of layers is cut in each."""

from __future__ import annotations

from fednas.models import Architecture
from fednas.search._shrinking import ShrinkingSearch, candidate
from fednas.search._strategy import Candidate, Problem
from fednas.spec import NetAdapt

__all__ = ["NetAdaptSearch"]


class NetAdaptSearch(ShrinkingSearch):
    """Each candidate shrinks one group of layers.

    Parameters
    ----------
    settings : NetAdapt
        ``strategy.netAdapt`` of the spec.
    """

    def __init__(self, settings: NetAdapt) -> None:
        super().__init__(settings)
        self._filter_step = settings.filter_step

    def candidates(
        self, problem: Problem, iteration: int, network: Architecture, target: float
    ) -> tuple[Candidate, ...]:
        """One a group of layers: the widest cut that brings the network down to ``target``.

        Widths are multiples of ``filterStep``. A group that cannot go so far is no candidate while
        another can; where none can, each is cut as far as it goes.
        """
        widths, step = network.widths, self._filter_step
        found = []
        for group in problem.space.groups:
            index = group.choice
            choices = range((widths[index] - 1) // step * step, 0, -step)
            if not choices:
                continue
            for width in choices:
                cut = (*widths[:index], width, *widths[index + 1 :])
                if problem.resource.cost(problem.space, cut) <= target:
                    break
            found.append(candidate(problem, group.name, index, network, cut, target))
        return tuple(one for one in found if one.reached_target) or tuple(found)
