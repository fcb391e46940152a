"""Early dropping: most candidates get no further training after the first phase.

FedNAS, arXiv 2002.06352: the authors' code keeps the best 4 by validation accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fednas.search._parts import Ranked
from fednas.search._strategy import Candidate, Outcome

__all__ = ["top_k"]


def top_k(
    candidates: Sequence[Candidate], outcomes: Mapping[str, Outcome], keep: int
) -> tuple[tuple[Ranked, ...], tuple[Candidate, ...]]:
    """Keep the ``keep`` of highest score; of equals the cheaper, then the earlier layer.

    Returns
    -------
    ranking : tuple of Ranked
        Every candidate with its score, rank and whether it was kept.
    kept : tuple of Candidate
        In order of layers; failed candidates are never among them.
    """

    def rank(candidate: Candidate) -> tuple[bool, float, int, int]:
        outcome = outcomes[candidate.name]
        failed = outcome.failed is not None
        return failed, -outcome.score, candidate.costs["macs"], candidate.index

    order = sorted(candidates, key=rank)
    kept = {candidate.name for candidate in order[:keep] if not outcomes[candidate.name].failed}
    ranking = tuple(
        Ranked(
            candidate=candidate.name,
            score=outcomes[candidate.name].score,
            sums=dict(outcomes[candidate.name].sums),
            costs=dict(candidate.costs),
            rank=place,
            kept=candidate.name in kept,
            failed=outcomes[candidate.name].failed is not None,
        )
        for place, candidate in enumerate(order, 1)
    )
    return ranking, tuple(c for c in candidates if c.name in kept)
