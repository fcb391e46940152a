"""Counting right answers, after making the batch-norm statistics fit."""

from __future__ import annotations

from fednas.models import Architecture, encode
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._modules import loaded
from fednas.work._task import Task

__all__ = ["EVALUATE", "Evaluate"]


class Evaluate(Params):
    """What is evaluated."""

    architecture: Architecture


def run(task: Task, params: Evaluate, source: Source) -> Work:
    """Inputs weights, data shard; with data calibration, the statistics are recomputed on it.

    Then the network that was evaluated is an output.
    """
    from fednas.models import to_vector
    from fednas.training import evaluate, recalibrate

    module = loaded(params.architecture, source.blob(task.inputs["weights"]))
    shape, normalize = params.architecture.input_shape, params.architecture.normalize
    outputs: dict[str, bytes] = {}
    if "calibration" in task.data:
        recalibrate(module, source.rows(task.data["calibration"]), shape, normalize=normalize)
        outputs["weights"] = encode(to_vector(module))
    rows = source.rows(task.data["shard"])
    counted = evaluate(module, rows, shape, normalize=normalize)
    sums = {"correct": counted.correct, "total": counted.total, "loss": counted.loss_sum}
    return Work(outputs, sums, weight=len(rows))


EVALUATE = Kind("evaluate", Evaluate, run, samples=lambda params, rows: rows, passes=1)
