"""How many candidates are trained at all, and how many go on after a round.

Early dropping is FedNAS's (arXiv 2002.06352; the authors' code keeps the best 4 after the first
phase), halving Karnin's and Jamieson's (arXiv 1502.07943).
"""

from __future__ import annotations

from fednas.search._rounds import Plan
from fednas.spec import EarlyDrop, Screening

__all__ = ["candidate_rounds", "kept_after", "screened"]


def screened(screening: Screening, candidates: int) -> int:
    """How many of the candidates that were just cut are trained."""
    top = screening.top_k
    return candidates if top is None else min(top.keep, candidates)


def kept_after(drop: EarlyDrop, candidates: int, *, last_of_phase: bool) -> int:
    """How many of the candidates that trained a round go on.

    Parameters
    ----------
    last_of_phase : bool
        Whether it was the last round of the first phase.
    """
    if drop.successive_halving is not None:
        return (candidates + 1) // 2
    if drop.top_k is not None and last_of_phase:
        return min(drop.top_k.keep, candidates)
    return candidates


def candidate_rounds(plan: Plan, drop: EarlyDrop, candidates: int) -> tuple[int, int]:
    """How many rounds of one candidate the two phases take together, if none ends early.

    Parameters
    ----------
    candidates : int
        Those that are trained at all.
    """
    trained = []
    for rounds, first in ((plan.pre, True), (plan.post, False)):
        total = 0
        for number in range(1, rounds + 1):
            total += candidates
            over = first and number == rounds
            candidates = kept_after(drop, candidates, last_of_phase=over)
        trained.append(total)
    pre, post = trained
    return pre, post
