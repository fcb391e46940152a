"""One client's local training, of which nothing leaves the client but a clipped update.

No loss is reported, and a training that diverged sends an update of zeros: either would tell of the
client's data what the noise in the aggregate does not hide.
"""

from __future__ import annotations

import numpy as np

from fednas.errors import TrainingDiverged
from fednas.models import decode, encode
from fednas.work._clip import clipped, learnt
from fednas.work._kind import Kind, Output, Source, Work
from fednas.work._modules import loaded
from fednas.work._task import Task
from fednas.work.train import TRAIN, Train

__all__ = ["TRAIN_CLIPPED", "TrainClipped"]


class TrainClipped(Train):
    """How a client trains, and the L2 norm that its update is clipped to."""

    clip_norm: float


def run(task: Task, params: TrainClipped, source: Source) -> Work:
    """Inputs weights, data shard; output update: weights after training less those before."""
    from fednas.models import layout

    blob = source.blob(task.inputs["weights"])
    before = decode(blob)
    try:
        after = decode(TRAIN.run(task, params, source).outputs["weights"])
    except TrainingDiverged:
        after = before
    mask = learnt(layout(loaded(params.architecture, blob)))
    update = clipped(after.astype(np.float64) - before, params.clip_norm, mask)
    rows = len(source.rows(task.data["shard"]))
    return Work(
        {"update": encode(update.astype(np.float32))},
        {"samples": TRAIN.samples(params, rows)},
        weight=1.0,
    )


TRAIN_CLIPPED = Kind(
    name="trainClipped",
    params=TrainClipped,
    run=run,
    outputs=(Output("update"),),
    sums=("samples",),
    samples=TRAIN.samples,
    passes=TRAIN.passes,
    within=TRAIN.within,
)
