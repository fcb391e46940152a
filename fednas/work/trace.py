"""The space of a network, and the numerics of the machine that traced it."""

from __future__ import annotations

import json

from fednas.models import Architecture
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._task import Task

__all__ = ["TRACE", "Trace"]


class Trace(Params):
    """Which network."""

    architecture: Architecture


def run(task: Task, params: Trace, source: Source) -> Work:
    """Outputs space, and numerics: JSON, what the bits of this worker depend on."""
    from fednas.space import trace
    from fednas.training import numerics

    space = trace(params.architecture)
    return Work(
        {
            "space": space.to_json(),
            "numerics": json.dumps(numerics(), sort_keys=True).encode(),
        }
    )


TRACE = Kind("trace", Trace, run)
