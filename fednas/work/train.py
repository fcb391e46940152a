"""One client's local training: what every round of federated averaging asks of a client."""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from fednas.errors import TrainingDiverged
from fednas.models import Architecture, encode
from fednas.spec import Augmentation, Data, InitialTraining, Sgd, Training
from fednas.work._kind import Kind, Output, Params, Source, Work
from fednas.work._modules import loaded, module_of
from fednas.work._task import Task

__all__ = ["TRAIN", "Train", "trained_samples"]


class Train(Params):
    """How a client trains, and what."""

    architecture: Architecture
    epochs: float
    batch_size: int
    sgd: Sgd
    augment: tuple[Augmentation, ...] = ()
    within: tuple[Architecture, ...] = ()
    """Networks nested in it, of which one, drawn, is trained with each batch besides."""

    @classmethod
    def by(
        cls,
        training: Training | InitialTraining,
        data: Data,
        architecture: Architecture,
        *,
        rate: float = 1.0,
        within: tuple[Architecture, ...] = (),
    ) -> Self:
        """As a spec says, with this share of its step size."""
        sgd = training.optimizer.sgd
        assert sgd is not None, "the only member of this union"
        return cls(
            architecture=architecture,
            epochs=training.epochs,
            batch_size=training.batch_size,
            sgd=Sgd(
                learning_rate=rate * sgd.learning_rate,
                momentum=sgd.momentum,
                weight_decay=sgd.weight_decay,
            ),
            augment=data.augment or (),
            within=within,
        )


def trained_samples(samples: int, epochs: float, batch_size: int) -> int:
    """Samples that a client of ``samples`` processes in a round: full batches only."""
    batch = min(batch_size, samples)
    return math.ceil(epochs * samples / batch) * batch


def run(task: Task, params: Train, source: Source) -> Work:
    """Inputs weights, data shard; weight = samples of the shard."""
    from fednas.models import to_vector
    from fednas.training import train

    module = loaded(params.architecture, source.blob(task.inputs["weights"]))
    rows = source.rows(task.data["shard"])
    trained = train(
        module,
        rows,
        params.architecture.input_shape,
        epochs=params.epochs,
        batch_size=params.batch_size,
        optimizer=params.sgd,
        seed=task.seed,
        augmentation=params.augment,
        normalize=params.architecture.normalize,
        within=[module_of(network) for network in params.within],
    )
    module.zero_grad(set_to_none=True)
    vector = to_vector(module)
    if not (math.isfinite(trained.loss) and np.isfinite(vector).all()):
        raise TrainingDiverged(
            f"training diverged (loss {trained.loss:g}); lower the optimizer's learningRate"
        )
    return Work(
        {"weights": encode(vector)},
        {"samples": trained.samples, "loss": trained.loss},
        weight=len(rows),
    )


TRAIN = Kind(
    name="train",
    params=Train,
    run=run,
    outputs=(Output("weights"),),
    sums=("samples", "loss"),
    samples=lambda params, rows: trained_samples(rows, params.epochs, params.batch_size),
    passes=3,
    within=lambda params: params.within,
)
