"""A network's answers, kept by a worker: all candidates are held against the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fednas.models import Architecture
from fednas.work._kind import Source
from fednas.work._modules import loaded
from fednas.work._task import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["reference_answers"]

_kept: dict[tuple[str, str, str], Tensor] = {}


def reference_answers(task: Task, network: Architecture | None, source: Source) -> Tensor | None:
    """Answers to the rows of data shard by the network whose weights are input reference.

    Float32 [n, classes], as `fednas.training.answers` has them; None where there is no such
    network. Only the last are kept. The module that they were asked of is this process's own no
    more: load your own network afterwards.
    """
    from fednas.training import answers

    if network is None:
        return None
    key = network.key(), task.inputs["reference"], task.data["shard"]
    if key not in _kept:
        module = loaded(network, source.blob(task.inputs["reference"]))
        rows = source.rows(task.data["shard"])
        _kept.clear()
        _kept[key] = answers(module, rows, network.input_shape, normalize=network.normalize)
    return _kept[key]
