"""Teaching a smaller network another's answers, in the cloud."""

from __future__ import annotations

from typing import Self

import numpy as np

from fednas.errors import TrainingDiverged
from fednas.models import Architecture, decode, encode
from fednas.spec import Distillation, Sgd
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._modules import loaded
from fednas.work._task import Task

__all__ = ["DISTIL", "Distil"]


class Distil(Params):
    """Who learns, from whom, and how."""

    architecture: Architecture
    teacher: Architecture
    steps: int
    batch_size: int
    sgd: Sgd

    @classmethod
    def by(cls, how: Distillation, architecture: Architecture, teacher: Architecture) -> Self:
        """As a spec says."""
        sgd = how.optimizer.sgd
        assert sgd is not None, "the only member of this union"
        return cls(
            architecture=architecture,
            teacher=teacher,
            steps=how.steps,
            batch_size=how.batch_size,
            sgd=Sgd(**dict(sgd)),
        )


def run(task: Task, params: Distil, source: Source) -> Work:
    """Inputs weights and teacher, data shard; output weights. No label is read."""
    from fednas.models import build, to_vector
    from fednas.training import distil

    module = loaded(params.architecture, source.blob(task.inputs["weights"]))
    divergence = distil(
        module,
        build(params.teacher, decode(source.blob(task.inputs["teacher"]))),
        source.rows(task.data["shard"]),
        params.architecture.input_shape,
        steps=params.steps,
        batch_size=params.batch_size,
        optimizer=params.sgd,
        seed=task.seed,
        normalize=params.architecture.normalize,
    )
    module.zero_grad(set_to_none=True)
    vector = to_vector(module)
    if not np.isfinite(vector).all():
        raise TrainingDiverged("spec.distillation diverged; lower optimizer.sgd.learningRate in it")
    return Work({"weights": encode(vector)}, {"divergence": divergence})


DISTIL = Kind("distil", Distil, run)
