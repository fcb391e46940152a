"""Training after the search: FedAvg (McMahan et al., arXiv 1602.05629) of the networks in use.

The search trains candidates only as far as it takes to choose between them; FedNAS (arXiv
2002.06352) trains what was chosen by long-term federated averaging. A rung's best round by the loss
on the validation rows counts. What the search left is not among them: it was chosen on the very
same rows out of many, and looks better there than it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from fednas.federation import FINAL, RoundId
from fednas.search._draw import draw_cohort
from fednas.search._strategy import Entrant, Outcome, Steps, Train, ask
from fednas.spec import Data, FinalTraining
from fednas.work import TRAIN
from fednas.work import Train as TrainParams

__all__ = ["Best", "keep_best", "step_share", "train_finally"]


Best = dict[int, tuple[int, Outcome]]
"""Rung -> its best round, and what came of it."""


def train_finally(
    rungs: Mapping[int, Outcome],
    training: FinalTraining,
    data: Data,
    clients: Sequence[str],
    *,
    seed: int,
    iteration: int,
) -> Steps[Best]:
    """Train some rungs of a ladder side by side, all by the same clients in each round.

    Parameters
    ----------
    rungs : mapping
        Rung -> the network, as evaluated.
    data : Data
        Says how rows are augmented.
    iteration : int
        The one after the search's last.
    """
    names = {rung: f"rung-{rung:02}" for rung in rungs}
    best: Best = {}
    last = dict(rungs)
    for number in range(1, training.rounds + 1):
        cohort = partial(draw_cohort, clients, training.clients_per_round, seed, FINAL, number)
        entrants = {
            names[rung]: Entrant(outcome.model, cohort)
            for rung, outcome in last.items()
            if not outcome.failed
        }
        if not entrants:
            break
        at = RoundId(iteration, FINAL, "", number)
        trained = yield from ask(
            Train(
                at,
                entrants,
                TRAIN,
                partial(TrainParams.by, training, data, rate=step_share(training, number)),
            )
        )
        for rung, name in names.items():
            if name in trained:
                last[rung] = trained[name]
                keep_best(best, rung, number, last[rung])
    return best


def keep_best(best: Best, rung: int, number: int, outcome: Outcome) -> None:
    """A round of a rung; the loss of a failure is infinite."""
    before = best[rung][1].loss if rung in best else math.inf
    if outcome.loss < before:
        best[rung] = number, outcome


def step_share(training: FinalTraining, number: int) -> float:
    """Share of the step size in a round: linear falls to 0 after the last."""
    return 1 - (number - 1) / training.rounds if training.schedule == "linear" else 1.0
