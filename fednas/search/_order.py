"""Which of two candidates is the better: one order for screening, early drop and winner alike.

Whoever met the iteration's target comes first, and within that decides what the spec names: loss or
accuracy on the validation rows, plain or by what is lost of it per resource saved. The latter is
the rule of NetAdapt and of FedNAS (arXiv 1804.03230, 2002.06352). The divergence from the answers
of the network that was cut needs no labels, and chance has less of a say in it: both networks are
asked the same, and a lucky answer does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fednas.search._parts import Quantity, Ranked
from fednas.search._strategy import Candidate, Outcome, Problem
from fednas.spec import Order

__all__ = ["Ranking", "improves", "of_trained"]

_LOSS: dict[Order, Callable[[Outcome], float]] = {
    "divergence": lambda outcome: outcome.divergence,
    "loss": lambda outcome: outcome.loss,
    "lossPerResource": lambda outcome: outcome.loss,
    "accuracy": lambda outcome: -outcome.score,
    "accuracyPerResource": lambda outcome: -outcome.score,
}
_QUANTITY: dict[Order, Quantity] = {
    "divergence": "divergence",
    "loss": "loss",
    "lossPerResource": "loss",
    "accuracy": "accuracy",
    "accuracyPerResource": "accuracy",
}
_PER_RESOURCE: tuple[Order, ...] = ("lossPerResource", "accuracyPerResource")


def of_trained(order: Order) -> Order:
    """By what candidates are ordered that have trained: some answer better than what was cut."""
    return "loss" if order == "divergence" else order


def improves(order: Order, after: Outcome, before: Outcome) -> bool:
    """Whether a network is better than it was before; of equals the earlier counts."""
    return _LOSS[order](after) < _LOSS[order](before)


class Ranking:
    """Orders the candidates of one iteration, and shows the evidence.

    Parameters
    ----------
    order : Order
        As the spec says.
    problem : Problem
    parent : Outcome
        Of the network that they were cut from.
    """

    def __init__(self, order: Order, problem: Problem, parent: Outcome) -> None:
        self._order = order
        self._problem = problem
        self._parent = parent
        self._cost = problem.cost(parent.model.architecture)

    @property
    def quantity(self) -> Quantity:
        """What is ranked by, be it per resource or not."""
        return _QUANTITY[self._order]

    def sorted(
        self, candidates: Sequence[Candidate], outcomes: Mapping[str, Outcome]
    ) -> list[Candidate]:
        """Best first. Of equals the cheaper, then the earlier layer; failed ones come last."""
        return sorted(candidates, key=lambda candidate: self._key(candidate, outcomes))

    def shown(
        self, ranked: Sequence[Candidate], outcomes: Mapping[str, Outcome], keep: int
    ) -> tuple[Ranked, ...]:
        """The evidence, for the journal: the first ``keep`` that have not failed are kept."""
        return tuple(
            Ranked(
                candidate=candidate.name,
                score=outcomes[candidate.name].score,
                sums=dict(outcomes[candidate.name].sums),
                costs=dict(candidate.costs),
                rank=place,
                kept=place <= keep and not outcomes[candidate.name].failed,
                failed=outcomes[candidate.name].failed is not None,
                reached_target=candidate.reached_target,
                ratio=self._evidence(candidate, outcomes[candidate.name]),
            )
            for place, candidate in enumerate(ranked, 1)
        )

    def _key(
        self, candidate: Candidate, outcomes: Mapping[str, Outcome]
    ) -> tuple[bool, bool, bool, float, int, int]:
        outcome = outcomes[candidate.name]
        cost = self._problem.cost(candidate.architecture)
        value, lost = _LOSS[self._order](outcome), False
        if self._order in _PER_RESOURCE:
            # Where something was gained the ratio would reward the tiniest cut.
            lost = self._lost(outcome) > 0
            value = self._ratio(candidate, outcome) if lost else value
        failed = outcome.failed is not None
        return failed, not candidate.reached_target, lost, value, cost, candidate.index

    def _evidence(self, candidate: Candidate, outcome: Outcome) -> float | None:
        if outcome.failed is not None or self._order not in _PER_RESOURCE:
            return None
        return self._ratio(candidate, outcome)

    def _lost(self, outcome: Outcome) -> float:
        return _LOSS[self._order](outcome) - _LOSS[self._order](self._parent)

    def _ratio(self, candidate: Candidate, outcome: Outcome) -> float:
        """Lost per share of the start's resource saved, with the authors' small constants."""
        saved = self._cost - self._problem.cost(candidate.architecture)
        return (self._lost(outcome) + 1e-6) / (saved / self._problem.full + 1e-5)
