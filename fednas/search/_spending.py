"""What a search is expected to spend of the promise to its clients, told before it starts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fednas.federation import FINAL, INITIAL
from fednas.search._draw import draw_cohort
from fednas.search._private import epsilon_of
from fednas.spec import ClientLevel, FinalTraining, InitialTraining, SearchSpec

__all__ = ["Spending", "spending"]


@dataclass(frozen=True)
class Spending:
    """What is spent by the client that is in the most releases, none of which is lost.

    Parameters
    ----------
    releases : (int, int)
        At least and at most.
    epsilon : (float, float)
    delta, budget : float
        As the spec says.
    """

    releases: tuple[int, int]
    epsilon: tuple[float, float]
    delta: float
    budget: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase."""
        releases, epsilon = self.releases, self.epsilon
        return {
            "releases": {"least": releases[0], "most": releases[1]},
            "epsilon": {"least": epsilon[0], "most": epsilon[1]},
            "delta": self.delta,
            "budget": self.budget,
        }


def spending(
    spec: SearchSpec,
    clients: Sequence[str],
    *,
    groups: int,
    tuned: int,
    rounds: tuple[int, int],
) -> Spending | None:
    """What is spent; None where nothing is promised.

    Who is drawn before and after the search follows from the seed. In the search the groups are
    taken to train as often as each other.

    Parameters
    ----------
    groups : int
        Of clients.
    tuned : int
        Rungs that the final training trains.
    rounds : (int, int)
        Of one candidate by one group, at least and at most.
    """
    promise = spec.privacy.client_level
    if promise is None:
        return None
    drawn = Counter[str]()
    _draw(drawn, spec.model.initial.training, clients, spec.seed, INITIAL, 1)
    # Trained as one, each client trains only what its class gets.
    nested = spec.final_training is not None and spec.final_training.nested
    _draw(drawn, spec.final_training, clients, spec.seed, FINAL, min(tuned, 1) if nested else tuned)
    often = max(drawn.values(), default=0)
    least, most = (often + math.ceil(number / groups) for number in rounds)
    return Spending((least, most), _epsilons(promise, least, most), promise.delta, promise.epsilon)


def _draw(
    drawn: Counter[str],
    training: InitialTraining | FinalTraining | None,
    clients: Sequence[str],
    seed: int,
    phase: str,
    networks: int,
) -> None:
    """Count who trains so many networks in each round of a phase."""
    if training is None:
        return
    for number in range(1, training.rounds + 1):
        cohort = draw_cohort(clients, training.clients_per_round, seed, phase, number, 0)
        for client in cohort.clients:
            drawn[client] += networks


def _epsilons(promise: ClientLevel, least: int, most: int) -> tuple[float, float]:
    return epsilon_of(least, promise), epsilon_of(most, promise)
