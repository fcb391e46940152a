"""Aggregation: the weighted mean of one output over the clients of a round."""

from __future__ import annotations

from fednas.models import decode, encode
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._mean import weighted_mean
from fednas.work._task import Task

__all__ = ["AGGREGATE", "Aggregate"]


class Aggregate(Params):
    """Client -> its weight in the mean: samples of its shard."""

    weights: dict[str, int]


def run(task: Task, params: Aggregate, source: Source) -> Work:
    """Inputs client -> vector; output mean. Read one by one, in sorted order of clients."""
    updates = (
        (decode(source.blob(task.inputs[client])), params.weights[client])
        for client in sorted(task.inputs)
    )
    return Work({"mean": encode(weighted_mean(updates))})


AGGREGATE = Kind("aggregate", Aggregate, run)
