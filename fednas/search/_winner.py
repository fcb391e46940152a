"""Which survivor becomes the next network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fednas.federation import Outcome
from fednas.search._strategy import Candidate

__all__ = ["rank_by_accuracy_per_resource"]


def rank_by_accuracy_per_resource(
    survivors: Sequence[Candidate],
    outcomes: Mapping[str, Outcome],
    *,
    accuracy: float,
    macs: int,
    full: int,
) -> tuple[dict[str, Any], Candidate]:
    """The least accuracy lost per resource saved, as in the authors' code (arXiv 2002.06352).

    ``(accuracy - a + 1e-6) / (share - s + 1e-5)``, shares of the starting network's MACs.
    Candidates that reached the target come before those that merely got smaller. Where accuracy
    was gained the ratio would reward the tiniest cut, so those rank by accuracy, then by MACs.

    Parameters
    ----------
    accuracy, macs
        Of the network that was cut.
    full : int
        MACs of the starting network.
    """

    def ratio(candidate: Candidate) -> float:
        lost = accuracy - outcomes[candidate.name].accuracy
        return (lost + 1e-6) / ((macs - candidate.macs) / full + 1e-5)

    def rank(candidate: Candidate) -> tuple[bool, bool, float, int, int]:
        gained = outcomes[candidate.name].accuracy > accuracy
        score = -outcomes[candidate.name].accuracy if gained else ratio(candidate)
        return not candidate.reached_target, not gained, score, candidate.macs, candidate.index

    order = sorted(survivors, key=rank)
    ranking = [
        {
            "candidate": candidate.name,
            "accuracy": outcomes[candidate.name].accuracy,
            "macs": candidate.macs,
            "ratio": ratio(candidate),
            "reachedTarget": candidate.reached_target,
            "rank": place,
        }
        for place, candidate in enumerate(order, 1)
    ]
    return {"winner": order[0].name, "ranking": ranking}, order[0]
