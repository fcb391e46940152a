"""Cutting a parent's weights down to a child's widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fednas.data import Rows, split_rows
from fednas.models import Architecture, decode, encode
from fednas.resources import count_macs
from fednas.space import Space, cut_filters
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._modules import loaded
from fednas.work._task import Task

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DERIVE", "Derive"]

PIXELS = 1 << 19
"""Of the images that a network is refitted on, at most: it bounds the memory."""


class Derive(Params):
    """From which network to which."""

    parent: Architecture
    child: Architecture


def run(task: Task, params: Derive, source: Source) -> Work:
    """Inputs weights and space; output weights. The child's MACs are counted, not only summed.

    With data calibration, the child is refitted on it, and its batch-norm statistics are its.
    """
    import torch

    from fednas.models import build, to_vector
    from fednas.space import kept_outputs

    space = Space.from_json(source.blob(task.inputs["space"]))
    blob = source.blob(task.inputs["weights"])
    vector, kept = cut_filters(space, params.parent, decode(blob), params.child)
    child = build(params.child, vector)
    counted = count_macs(child, torch.zeros(1, *params.child.input_shape))
    assert counted == space.macs(params.child.widths), (counted, params.child)
    if "calibration" in task.data:
        rows = source.rows(task.data["calibration"])
        _refit(child, loaded(params.parent, blob), kept_outputs(space, kept), rows, params.child)
        vector = to_vector(child)
    return Work({"weights": encode(vector)})


def _refit(
    child: nn.Module,
    parent: nn.Module,
    kept: Mapping[str, npt.NDArray[np.intp]],
    rows: Rows,
    network: Architecture,
) -> None:
    """Refit the child on as many of the rows as memory allows; its statistics are of all."""
    import torch

    from fednas.space import refit
    from fednas.training import normalise, recalibrate

    _, height, width = network.input_shape
    images, _ = split_rows(rows[: max(2, PIXELS // (height * width))].copy(), network.input_shape)
    for module in (parent, child):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    refit(child, parent, kept, normalise(images, network.normalize))
    if len(images) < len(rows):
        recalibrate(child, rows, network.input_shape, normalize=network.normalize)


DERIVE = Kind("derive", Derive, run)
