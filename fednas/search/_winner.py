"""Which survivor becomes the next network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fednas.search._parts import Ranked
from fednas.search._strategy import Candidate, Outcome, Problem

__all__ = ["rank_by_accuracy_per_resource"]


def rank_by_accuracy_per_resource(
    survivors: Sequence[Candidate],
    outcomes: Mapping[str, Outcome],
    *,
    problem: Problem,
    parent: Outcome,
    full: int,
) -> tuple[tuple[Ranked, ...], Candidate]:
    """The least accuracy lost per resource saved, as in the authors' code (arXiv 2002.06352).

    ``(accuracy - a + 1e-6) / (share - s + 1e-5)``, shares of the starting network's resource.
    Candidates that reached the target come before those that merely got smaller. Where accuracy
    was gained the ratio would reward the tiniest cut, so those rank by accuracy, then by cost.

    Parameters
    ----------
    parent : Outcome
        Of the network that was cut.
    full : int
        Resource of the starting network.
    """
    cost = problem.cost(parent.model.architecture)

    def saved(candidate: Candidate) -> int:
        return cost - problem.cost(candidate.architecture)

    def ratio(candidate: Candidate) -> float:
        lost = parent.score - outcomes[candidate.name].score
        return (lost + 1e-6) / (saved(candidate) / full + 1e-5)

    def rank(candidate: Candidate) -> tuple[bool, bool, float, int, int]:
        gained = outcomes[candidate.name].score > parent.score
        score = -outcomes[candidate.name].score if gained else ratio(candidate)
        return not candidate.reached_target, not gained, score, -saved(candidate), candidate.index

    order = sorted(survivors, key=rank)
    ranking = tuple(
        Ranked(
            candidate=candidate.name,
            score=outcomes[candidate.name].score,
            sums=dict(outcomes[candidate.name].sums),
            costs=dict(candidate.costs),
            rank=place,
            kept=True,
            reached_target=candidate.reached_target,
            ratio=ratio(candidate),
        )
        for place, candidate in enumerate(order, 1)
    )
    return ranking, order[0]
