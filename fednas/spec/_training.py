"""How one client trains: of the starting network, and of a candidate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fednas.spec._base import Int, Model, Number, OneOf, Rule

__all__ = [
    "Distillation",
    "FinalOptimizer",
    "FinalSgd",
    "FinalTraining",
    "InitialOptimizer",
    "InitialSgd",
    "InitialTraining",
    "Optimizer",
    "Sgd",
    "Training",
]


class Sgd(Model):
    """Stochastic gradient descent with momentum."""

    learning_rate: Number = Field(0.01, gt=0, le=10, description="Step size.")
    momentum: Number = Field(
        0.9, ge=0, lt=1, description="Share of the last step that goes into the next; 0 for none."
    )
    weight_decay: Number = Field(1e-4, ge=0, le=1, description="L2 penalty on the weights.")


class Optimizer(OneOf):
    """How weights follow gradients."""

    sgd: Sgd | None = Field(None, description="Stochastic gradient descent with momentum.")


class InitialSgd(Sgd):
    """Stochastic gradient descent from random weights."""

    learning_rate: Number = Field(0.05, gt=0, le=10, description="Step size.")


class FinalSgd(Sgd):
    """Stochastic gradient descent of networks that were trained before."""

    learning_rate: Number = Field(0.02, gt=0, le=10, description="Step size in the first round.")


class FinalOptimizer(Optimizer):
    """How weights follow gradients, from trained weights."""

    sgd: FinalSgd | None = Field(None, description="Stochastic gradient descent with momentum.")


class InitialOptimizer(OneOf):
    """How weights follow gradients, from random weights."""

    sgd: InitialSgd | None = Field(None, description="Stochastic gradient descent with momentum.")


class Training(Model):
    """The training of a network on one client, once per round."""

    epochs: Number = Field(
        1.0,
        gt=0,
        le=100,
        description="Passes over the client's samples per round; may be a fraction. "
        "Steps are ceil(epochs * samples / batchSize).",
    )
    batch_size: Int = Field(
        64,
        ge=1,
        le=4096,
        description="Samples per step; a client with fewer samples uses all of them.",
    )
    optimizer: Optimizer = Field(
        Optimizer(sgd=Sgd()), description="How weights follow gradients. Exactly one."
    )


class InitialTraining(Model):
    """FedAvg of the starting network from random weights, before the search."""

    rounds: Int = Field(60, ge=1, le=10000, description="Rounds of FedAvg.")
    clients_per_round: Int = Field(
        10,
        ge=1,
        le=10000,
        description="Clients drawn for each round; at most the number of all clients.",
    )
    epochs: Number = Field(
        1.0,
        gt=0,
        le=100,
        description="Passes over the client's samples per round; may be a fraction.",
    )
    batch_size: Int = Field(64, ge=1, le=4096, description="Samples per step.")
    optimizer: InitialOptimizer = Field(
        InitialOptimizer(sgd=InitialSgd()),
        description="How weights follow gradients. Exactly one.",
    )


class FinalTraining(Training):
    """FedAvg of the networks that are used, after the search."""

    rules = (
        Rule(
            lambda model: not model.nested or model.rungs == "selected",
            "!has(self.nested) || !self.nested || !has(self.rungs) || self.rungs == 'selected'",
            "must be false where rungs is not selected",
            "nested",
        ),
    )

    nested: bool = Field(
        False,
        description="Whether they are trained as one network, the largest, in which the others are "
        "nested: each client trains that of its device class, and a smaller one inside it, drawn "
        "for each batch. Otherwise each is trained on its own, by clients of all classes.",
    )
    rungs: Literal["selected", "largest", "all"] = Field(
        "selected",
        description="Which rungs of the ladder: those selected for a device class; the largest of "
        "those alone, from which the others learn by distillation; or all.",
    )
    rounds: Int = Field(20, ge=1, le=10000, description="Rounds of FedAvg for each of them.")
    clients_per_round: Int = Field(
        10,
        ge=1,
        le=10000,
        description="Clients drawn for each round; at most the number of all clients.",
    )
    schedule: Literal["linear", "constant"] = Field(
        "linear",
        description="The step size over the rounds: falling in a line to 0 after the last, or "
        "the same in all.",
    )
    optimizer: FinalOptimizer = Field(
        FinalOptimizer(sgd=FinalSgd()), description="How weights follow gradients. Exactly one."
    )

    @property
    def as_one(self) -> bool:
        """Whether clients train one network, the largest: alone, or with the others in it."""
        return self.nested or self.rungs == "largest"


class DistillationSgd(Sgd):
    """Stochastic gradient descent towards another network's answers."""

    learning_rate: Number = Field(
        0.005, gt=0, le=10, description="Step size at first; it falls in a line to 0."
    )


class DistillationOptimizer(OneOf):
    """How weights follow gradients, from a network that was cut."""

    sgd: DistillationSgd | None = Field(
        None, description="Stochastic gradient descent with momentum."
    )


class Distillation(Model):
    """Teaching the networks that are used what a larger one answers, in the cloud."""

    steps: Int = Field(
        3000, ge=1, le=1_000_000, description="Batches of validation images for each of them."
    )
    batch_size: Int = Field(64, ge=1, le=4096, description="Images per step.")
    optimizer: DistillationOptimizer = Field(
        DistillationOptimizer(sgd=DistillationSgd()),
        description="How weights follow gradients. Exactly one.",
    )
