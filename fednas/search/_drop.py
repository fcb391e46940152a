"""Early dropping: most candidates get no further training after the first phase.

FedNAS, arXiv 2002.06352: the authors' code keeps the best 4 by validation accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fednas.federation import Outcome
from fednas.search._strategy import Candidate

__all__ = ["top_k"]


def top_k(
    candidates: Sequence[Candidate], outcomes: Mapping[str, Outcome], keep: int
) -> tuple[dict[str, Any], tuple[Candidate, ...]]:
    """Keep the ``keep`` most accurate; of equals the smaller, then the earlier layer.

    Returns
    -------
    evidence : dict
        ``ranking``: every candidate with its accuracy, MACs, rank and whether it was kept.
    kept : tuple of Candidate
        In order of layers; failed candidates are never among them.
    """

    def rank(candidate: Candidate) -> tuple[bool, float, int, int]:
        outcome = outcomes[candidate.name]
        return outcome.failed, -outcome.accuracy, candidate.macs, candidate.index

    order = sorted(candidates, key=rank)
    kept = {candidate.name for candidate in order[:keep] if not outcomes[candidate.name].failed}
    ranking = [
        {
            "candidate": candidate.name,
            "accuracy": outcomes[candidate.name].accuracy,
            "correct": outcomes[candidate.name].correct,
            "total": outcomes[candidate.name].total,
            "macs": candidate.macs,
            "rank": place,
            "kept": candidate.name in kept,
            "failed": outcomes[candidate.name].failed,
        }
        for place, candidate in enumerate(order, 1)
    ]
    return {"ranking": ranking}, tuple(c for c in candidates if c.name in kept)
