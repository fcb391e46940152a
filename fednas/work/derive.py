"""Cutting a parent's weights down to a child's widths."""

from __future__ import annotations

from fednas.models import Architecture, decode, encode
from fednas.resources import count_macs
from fednas.space import Space, derive
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._task import Task

__all__ = ["DERIVE", "Derive"]


class Derive(Params):
    """From which network to which."""

    parent: Architecture
    child: Architecture


def run(task: Task, params: Derive, source: Source) -> Work:
    """Inputs weights and space; output weights. The child's MACs are counted, not only summed."""
    import torch

    from fednas.models import build

    space = Space.from_json(source.blob(task.inputs["space"]))
    vector = derive(space, params.parent, decode(source.blob(task.inputs["weights"])), params.child)
    counted = count_macs(build(params.child, vector), torch.zeros(1, *params.child.input_shape))
    assert counted == space.macs(params.child.widths), (counted, params.child)
    return Work({"weights": encode(vector)})


DERIVE = Kind("derive", Derive, run)
