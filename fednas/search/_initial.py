"""The starting network: trained by FedAvg from scratch, or given and only evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fednas.errors import SearchFailed, TrainingDiverged
from fednas.federation import INITIAL, RoundId
from fednas.models import Architecture, Model
from fednas.search._draw import draw_cohort
from fednas.search._strategy import Compute, Entrant, Evaluate, Outcome, Steps, Train, ask
from fednas.seeds import derive_seed
from fednas.spec import Data, InitialTraining
from fednas.work import INITIALISE, TRAIN, Initialise
from fednas.work import Train as TrainParams

__all__ = ["from_scratch", "given"]


def given(network: Architecture, weights: str) -> Steps[Outcome]:
    """The network with weights that lie in the store, evaluated."""
    model = Model(network, {"weights": weights})
    return (yield from ask(Evaluate(RoundId(0, INITIAL, "", 0), model)))


def from_scratch(
    network: Architecture,
    training: InitialTraining,
    data: Data,
    clients: Sequence[str],
    seed: int,
) -> Steps[Outcome]:
    """Federated averaging (McMahan et al., arXiv 1602.05629) from random weights.

    Raises
    ------
    SearchFailed
        A round found no quorum.
    """
    made = yield from ask(
        Compute(
            RoundId(0, INITIAL, "", 0),
            INITIALISE,
            Initialise(architecture=network),
            inputs={},
            seed=derive_seed(seed, "initialise"),
        )
    )
    model = Model(network, made.outputs)
    for number in range(1, training.rounds + 1):
        cohort = partial(draw_cohort, clients, training.clients_per_round, seed, INITIAL, number)
        outcomes = yield from ask(
            Train(
                RoundId(0, INITIAL, "", number),
                {"": Entrant(model, cohort)},
                TRAIN,
                partial(TrainParams.by, training, data),
            )
        )
        outcome = outcomes[""]
        if outcome.failed:
            diverged = outcome.failed.reason == TrainingDiverged.reason
            raise SearchFailed(
                TrainingDiverged.reason if diverged else "QuorumMissed",
                f"round {number} of the initial training had no quorum; the last: "
                f"{outcome.failed.message}",
            )
        model = outcome.model
    return outcome
