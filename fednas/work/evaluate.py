"""Counting right answers, after making the batch-norm statistics fit."""

from __future__ import annotations

from fednas.models import Architecture, encode
from fednas.objective import DIVERGENCE
from fednas.work._answers import reference_answers
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._modules import loaded
from fednas.work._task import Task

__all__ = ["EVALUATE", "Evaluate"]


class Evaluate(Params):
    """What is evaluated."""

    architecture: Architecture
    reference: Architecture | None = None
    """The network whose answers its own are compared with."""


def run(task: Task, params: Evaluate, source: Source) -> Work:
    """Inputs weights, data shard; with data calibration, the statistics are recomputed on it.

    Then the network that was evaluated is an output. With an input reference, weights of another
    network, the divergence from its answers is counted.
    """
    from fednas.models import to_vector
    from fednas.training import evaluate, recalibrate

    reference = reference_answers(task, params.reference, source)
    module = loaded(params.architecture, source.blob(task.inputs["weights"]))
    shape, normalize = params.architecture.input_shape, params.architecture.normalize
    outputs: dict[str, bytes] = {}
    if "calibration" in task.data:
        recalibrate(module, source.rows(task.data["calibration"]), shape, normalize=normalize)
        outputs["weights"] = encode(to_vector(module))
    rows = source.rows(task.data["shard"])
    counted = evaluate(module, rows, shape, normalize=normalize, reference=reference)
    sums = {"correct": counted.correct, "total": counted.total, "loss": counted.loss_sum}
    if reference is not None:
        sums[DIVERGENCE] = counted.divergence_sum
    return Work(outputs, sums, weight=len(rows))


EVALUATE = Kind("evaluate", Evaluate, run, samples=lambda params, rows: rows, passes=1)
