"""Which filters can only be cut together: Torch-Pruning's DepGraph, as a table of our own.

DepGraph (Fang et al., arXiv 2301.12900) follows the autograd graph of one forward pass. We ask it
once for each producing layer and keep (tensor, dimension, repeat); cutting is then indexing of
arrays, without the module. What the table cannot say is left out, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fednas.space._space import Slice

__all__ = ["Coupling", "find_couplings"]


@dataclass(frozen=True)
class Coupling:
    """A group as found: `problem` says why it cannot be cut, if it cannot."""

    name: str
    width: int
    slices: tuple[Slice, ...]
    producers: tuple[str, ...]
    problem: str | None


class _Unsupported(Exception):
    """Never leaves this file: it becomes the coupling's problem."""


def find_couplings(
    module: nn.Module, images: torch.Tensor, layers: Sequence[str]
) -> tuple[Coupling, ...]:
    """The groups of a network in forward order, without the network's own output.

    Parameters
    ----------
    module : nn.Module
        Left in the mode in which it came: DepGraph puts it in evaluation mode.
    images : tensor of shape [1, C, H, W]
    layers : sequence of str
        Names of its convolutions and linear layers, in the order in which they run.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        graph = tp.DependencyGraph().build_dependency(module, example_inputs=images, verbose=False)
    finally:
        for part, training in modes:
            part.training = training
    found: list[Coupling] = []
    seen: set[str] = set()
    for name in layers:
        layer = module.get_submodule(name)
        if name in seen or (isinstance(layer, nn.Conv2d) and layer.groups > 1):
            continue
        coupling = _coupling(graph, module, name)
        seen.update(producer.removesuffix(".weight") for producer in coupling.producers)
        if coupling.problem or any(part.dim == 1 for part in coupling.slices):
            found.append(coupling)  # a group that nothing reads is the network's output
    return tuple(found)


def _coupling(graph: Any, module: nn.Module, root: str) -> Coupling:
    layer = module.get_submodule(root)
    width = graph.get_out_channels(layer)
    items = graph.get_pruning_group(
        layer, graph.get_pruner_of_module(layer).prune_out_channels, list(range(width))
    ).items
    names = {part: name for name, part in module.named_modules()}
    slices: set[Slice] = set()
    problem = None
    for item in items:
        target, reads = item.dep.target.module, graph.is_in_channel_pruning_fn(item.dep.handler)
        try:
            for tensor, dim in _cut_dimensions(target, reads=reads):
                repeat = _repeat(item, width)
                if getattr(target, tensor).shape[dim] != width * repeat:
                    raise _Unsupported("it holds other filters too")
                slices.add(Slice(tensor=f"{names[target]}.{tensor}", dim=dim, repeat=repeat))
        except _Unsupported as e:
            problem = problem or f"{names.get(target, 'a parameter outside any layer')}: {e}"
    place = {name: i for i, name in enumerate(module.state_dict())}
    ordered = sorted(slices, key=lambda part: (place[part.tensor], part.dim))
    producers = tuple(
        part.tensor
        for part in ordered
        if part.dim == 0 and _produces(module.get_submodule(part.tensor.rpartition(".")[0]))
        if part.tensor.endswith(".weight")
    )
    return Coupling(
        re.sub(r"[^A-Za-z0-9._-]", "-", root), width, tuple(ordered), producers, problem
    )


def _produces(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _cut_dimensions(target: Any, *, reads: bool) -> Iterator[tuple[str, int]]:
    """(tensor, dimension) that hold the filters in a layer that writes or reads them."""
    if isinstance(target, _BatchNorm):
        names = ["weight", "bias", "running_mean", "running_var"]
    elif isinstance(target, nn.Conv2d) and 1 < target.groups < target.out_channels:
        raise _Unsupported("grouped convolutions are not cut")
    elif isinstance(target, nn.Conv2d | nn.Linear):
        if reads and _produces(target):
            yield "weight", 1
            return
        names = ["weight", "bias"]
    elif isinstance(target, nn.Parameter):
        raise _Unsupported("is not cut")
    elif isinstance(target, nn.Module) and any(True for _ in target.parameters()):
        raise _Unsupported(f"{type(target).__name__} layers are not cut")
    else:
        return  # activations, pooling, reshaping: nothing to cut
    for name in names:
        if getattr(target, name) is not None:
            yield name, 0


def _repeat(item: Any, width: int) -> int:
    """How many neighbouring positions make one filter."""
    positions, filters = list(item.idxs), list(item.root_idxs)
    repeat = len(positions) // width
    if positions != list(range(width * repeat)) or filters != [p // repeat for p in positions]:
        raise _Unsupported("its filters are no equal runs of neighbouring positions")
    return repeat
