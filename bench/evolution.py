"""Evolution over sub-networks, the search of Once-for-all (arXiv 1908.09791), as a strategy.

A row of `quality.py`: what netAdapt's candidates, which lose filters of one layer each, have to
beat with as many evaluations. The best of a generation are the parents of the next, whose children
cross two of them and change some widths at random, up and down, before all layers are thinned alike
to the next target.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from fednas.search import (
    AddRung,
    Candidate,
    Cut,
    Decide,
    Ending,
    Outcome,
    Problem,
    Ranking,
    ShrinkingSearch,
    Steps,
    Won,
    ask,
    candidate,
)
from fednas.seeds import derive_seed
from fednas.space import thin
from fednas.spec import Choosing, settings_of

TRIES = 50


class Evolution(ShrinkingSearch):
    """Each iteration is a generation."""

    def __init__(self, children: int = 14, parents: int = 5, **settings: Any) -> None:
        super().__init__(settings_of(Choosing, settings))
        self.children, self.parents = children, parents

    def search(self, problem: Problem, start: Outcome) -> Steps[Ending]:
        """From the start to the budget."""
        parents, cost = [start], problem.full
        for iteration in range(1, self.iterations + 1):
            if cost <= problem.budget * problem.full:
                break
            target = self._target(problem, iteration, cost)
            born = self._born(problem, iteration, parents, target)
            cut = yield from ask(
                Cut(
                    iteration,
                    "cut",
                    parents[0].model,
                    start.model,
                    int(target),
                    {"pre": 0, "post": 0},
                    born,
                    divergence=True,
                )
            )
            ranking = Ranking("divergence", problem, start)
            ranked = ranking.sorted(born, cut)
            shown = ranking.shown(ranked, cut, keep=len(ranked))
            best = ranked[0]
            yield from ask(Decide(Won(iteration=iteration, winner=best.name, ranking=shown)))
            yield from ask(AddRung(iteration, best.name, cut[best.name]))
            parents = [cut[one.name] for one in ranked[: self.parents]]
            cost = problem.cost(best.architecture)
        return Ending("Completed", "within the target")

    def _born(
        self, problem: Problem, iteration: int, parents: list[Outcome], target: float
    ) -> tuple[Candidate, ...]:
        """Children of these parents, each within the target."""
        space, start = problem.space, problem.space.start
        draw = random.Random(derive_seed(problem.seed, "evolution", iteration))
        found: dict[tuple[int, ...], Candidate] = {}
        for _ in range(TRIES * self.children):
            one, other = (draw.choice(parents).model.architecture.widths for _ in range(2))
            widths = list(one)
            for group in space.groups:
                at = group.choice
                width = draw.choice((one[at], other[at]))
                if draw.random() < 0.2:
                    width = round(width * draw.uniform(0.7, 1.2))
                widths[at] = min(max(1, width), start.widths[at])
            cost = partial(problem.resource.cost, space)
            child = thin(space, widths, cost, target)
            if child not in found and child != start.widths:
                name = f"child-{len(found)}"
                found[child] = candidate(problem, name, len(found), start, child, target)
            if len(found) == self.children:
                break
        return tuple(found.values())
