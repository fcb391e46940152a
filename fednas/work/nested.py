"""Networks nested in one another: each group of the smaller ones is the first filters of the whole.

Ordered dropout (Horvath et al., FjORD, arXiv 2102.13451) and HeteroFL (Diao et al., arXiv
2010.01264): clients train as much of one network as they can carry, and each weight becomes the
mean of those that trained it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from fednas.models import Architecture, decode, encode
from fednas.space import Space, by_strength
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._task import Task

__all__ = ["ARRANGE", "MERGE", "Arrange", "Merge"]

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]


class Arrange(Params):
    """Which network."""

    architecture: Architecture


def arrange(task: Task, params: Arrange, source: Source) -> Work:
    """Inputs weights and space; output weights: the same function, strong filters first."""
    space = Space.from_json(source.blob(task.inputs["space"]))
    vector = decode(source.blob(task.inputs["weights"]))
    return Work({"weights": encode(by_strength(space, params.architecture, vector))})


class Merge(Params):
    """The whole network; those nested in it, by name; and name -> weight of what was trained."""

    whole: Architecture
    nested: dict[str, Architecture]
    weights: dict[str, int]


def merge(task: Task, params: Merge, source: Source) -> Work:
    """Inputs space, weights (of the whole) and name -> what was trained; outputs weights and names.

    A number that nobody trained stays as it is.
    """
    space = Space.from_json(source.blob(task.inputs["space"]))
    shapes = space.shapes(params.whole.widths)
    whole = _split(shapes, decode(source.blob(task.inputs["weights"])))
    total = {name: np.zeros(shape) for name, shape in shapes.items()}
    weight = {name: np.zeros(shape) for name, shape in shapes.items()}
    for part, share in sorted(params.weights.items()):
        trained = decode(source.blob(task.inputs[part]))
        inner = space.shapes(params.nested[part].widths)
        for name, tensor in _split(inner, trained).items():
            total[name][_first(inner[name])] += share * tensor.astype(np.float64)
            weight[name][_first(inner[name])] += share
    merged = {
        name: np.where(weight[name] > 0, total[name] / np.maximum(weight[name], 1), tensor).astype(
            np.float32
        )
        for name, tensor in whole.items()
    }
    outputs = {"weights": _blob(merged.values())}
    for part, network in params.nested.items():
        inner = space.shapes(network.widths)
        outputs[part] = _blob(merged[name][_first(shape)] for name, shape in inner.items())
    return Work(outputs)


def _split(shapes: Mapping[str, Shape], vector: Array) -> dict[str, Array]:
    ends = np.cumsum([prod(shape) for shape in shapes.values()])
    parts = np.split(vector, ends[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _first(shape: Shape) -> tuple[slice, ...]:
    """Of each dimension of a tensor as many as a narrower one has."""
    return tuple(map(slice, shape))


def _blob(tensors: Iterable[Array]) -> bytes:
    return encode(np.concatenate([tensor.reshape(-1) for tensor in tensors]))


ARRANGE = Kind("arrange", Arrange, arrange)
MERGE = Kind("merge", Merge, merge)
