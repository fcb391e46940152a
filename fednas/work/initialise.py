"""Untrained weights."""

from __future__ import annotations

from fednas.models import Architecture, encode
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._task import Task

__all__ = ["INITIALISE", "Initialise"]


class Initialise(Params):
    """Of which network."""

    architecture: Architecture


def run(task: Task, params: Initialise, source: Source) -> Work:
    """Output weights, drawn from the task's seed."""
    from fednas.models import initialise

    return Work({"weights": encode(initialise(params.architecture, task.seed))})


INITIALISE = Kind("initialise", Initialise, run)
