"""How many rounds candidates train: the dynamic round numbers of FedNAS (arXiv 2002.06352).

The paper does not publish its own rule; these are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fednas.spec import AdaptiveRounds, ConstantRounds, GrowingRounds, Rounds

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True)
class Plan:
    """The rounds of one iteration.

    Parameters
    ----------
    pre, post : int
        Before the early drop, and at most after it.
    patience : int or None
        Rounds in a row with the same leader that end the second phase.
    """

    pre: int
    post: int
    patience: int | None = None

    @property
    def shortest(self) -> Plan:
        """The rounds if the same candidate leads after each of them."""
        if self.patience is None:
            return self
        return replace(self, post=min(self.post, max(1, self.patience + 1 - self.pre)))

    def enough(self, leaders: Sequence[str]) -> bool:
        """Whether a further round would hardly change who leads.

        Parameters
        ----------
        leaders : sequence of str
            Who led after each round of the iteration so far.
        """
        if self.patience is None:
            return False
        return len(leaders) > self.patience and len(set(leaders[-self.patience - 1 :])) == 1


def plan_of(rounds: Rounds, progress: float) -> Plan:
    """The rounds of an iteration.

    Parameters
    ----------
    progress : float
        The way from the start's resource to the target, 0 to 1, before the iteration.
    """
    match rounds.chosen[1]:
        case ConstantRounds(pre=pre, post=post):
            return Plan(pre, post)
        case GrowingRounds(pre=pre, post_min=low, post_max=high):
            return Plan(pre, low + round((high - low) * progress))
        case AdaptiveRounds(pre=pre, post_max=most, patience=patience):
            return Plan(pre, most, patience)
        case other:
            raise AssertionError(other)
