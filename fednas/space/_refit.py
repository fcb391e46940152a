"""Making up for a cut: each layer is fitted to give what it gave in the network that was cut.

The reconstruction of channel pruning (He, Zhang and Sun, arXiv 1707.06168): layer by layer in
forward order, the whole network's feature maps are fitted by least squares to what the cut network,
fitted so far, computes before them. Here with a ridge that pulls towards the plain cut. It needs
images and no labels, one forward pass of each network, and no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from fednas.space._space import Space

__all__ = ["MAX_FEATURES", "kept_outputs", "refit"]

RIDGE = 0.1
"""Of the mean second moment of what a layer reads; from .01 to 1 the results are alike."""

MAX_FEATURES = 2048
"""A layer that reads more numbers at a place stays as it is cut: its system is too large."""

NUMBERS = 1 << 19
"""Of the matrix of what a layer reads: of more places an even selection is looked at."""

BATCH = 128
"""Images that go through the whole network at a time; of more the maps leave the cache."""

Indices = npt.NDArray[np.intp]


def kept_outputs(space: Space, kept: Mapping[str, Indices]) -> dict[str, Indices]:
    """Layer -> which of its outputs are left; a layer of no group that was cut is left out.

    Parameters
    ----------
    kept : mapping
        Group -> the filters that are left.
    """
    return {
        part.tensor.removesuffix(".weight"): kept[group.name]
        for group in space.groups
        if group.name in kept
        for part in group.slices
        if part.dim == 0 and part.tensor.endswith(".weight")
    }


@torch.no_grad()
def refit(
    module: nn.Module, reference: nn.Module, kept: Mapping[str, Indices], images: Tensor
) -> None:
    """Fit the layers of a cut network, in place, and recompute its batch-norm statistics.

    Parameters
    ----------
    module, reference : nn.Module
        The network that was cut, and the one that it was cut from, of the same structure; left in
        evaluation mode.
    kept : mapping
        As `kept_outputs` gives it.
    images : Tensor [n, C, H, W]
        As the networks take them.
    """
    layers = {name: layer for name, layer in module.named_modules() if _is_fitted(layer)}
    targets = _targets(reference, layers, kept, images)
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the statistics of this one batch
        norm.train()

    def fit(layer: nn.Module, inputs: tuple[Tensor], name: str) -> None:
        if name in targets:  # at its first use, where a network uses it twice
            _fit(layers[name], inputs[0], targets.pop(name))

    hooks = [
        layer.register_forward_pre_hook(partial(fit, name=name)) for name, layer in layers.items()
    ]
    try:
        module(images)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _is_fitted(layer: nn.Module) -> bool:
    """Grouped convolutions mix nothing that could make up for a cut, and stay."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.weight[0].numel() <= MAX_FEATURES
    return isinstance(layer, nn.Linear) and layer.in_features <= MAX_FEATURES


@dataclass(frozen=True)
class _Target:
    """What a layer should give at every ``step``-th place of its maps: wanted [k, outputs]."""

    step: int
    wanted: Tensor


def _targets(
    reference: nn.Module, layers: Mapping[str, Any], kept: Mapping[str, Indices], images: Tensor
) -> dict[str, _Target]:
    """What the layers of the whole network give at the outputs that are left.

    In batches that stay in the cache, and only at the places that are looked at: all maps of all
    layers would take more memory than training does.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    steps: dict[str, int] = {}
    begin = 0

    def read(layer: nn.Module, inputs: object, output: Tensor, name: str) -> None:
        if len(found[name]) * BATCH > begin:
            return  # used twice by the network: the first use counts
        maps = _maps(layer, output)
        area = maps.shape[1] * maps.shape[2]
        step = steps.setdefault(name, _step(len(images) * area, layers[name].weight[0].numel()))
        wanted = maps.flatten(0, 2)[-begin * area % step :: step]  # goes on where the last ended
        if name in kept:
            wanted = wanted.index_select(1, torch.from_numpy(kept[name]))
        found[name].append(wanted.contiguous())

    hooks = [
        reference.get_submodule(name).register_forward_hook(partial(read, name=name))
        for name in layers
    ]
    reference.eval()
    try:
        for begin in range(0, len(images), BATCH):
            reference(images[begin : begin + BATCH])
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _Target(steps[name], torch.cat(parts)) for name, parts in found.items() if parts}


def _fit(layer: nn.Conv2d | nn.Linear, inputs: Tensor, target: _Target) -> None:
    """Ridge regression of what a layer should give on what it reads.

    Both are centred: means are taken up by the bias, or by the normalisation that follows where
    there is none.
    """
    features = layer.weight[0].numel()
    read = _read(layer, inputs, target.step)
    means_read, means_wanted = read.mean(0), target.wanted.mean(0)
    read, wanted = read - means_read, target.wanted - means_wanted
    before = layer.weight.reshape(-1, features)
    moments = (read.T @ read).double()
    missing = ((wanted - read @ before.T).T @ read).double()
    ridge = RIDGE * moments.diagonal().mean() + torch.finfo(torch.float32).tiny
    system = moments + ridge * torch.eye(features, dtype=torch.float64)
    after = before.double() + torch.linalg.solve(system, missing, left=False)
    layer.weight.copy_(after.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(means_wanted - after @ means_read.double())


def _step(places: int, features: int) -> int:
    """From one place to the next of an even selection, no larger than a least-squares fit needs."""
    return math.ceil(places * features / max(NUMBERS, 4 * features**2))


def _read(layer: nn.Conv2d | nn.Linear, inputs: Tensor, step: int) -> Tensor:
    """What a layer reads at every ``step``-th place: [k, features]."""
    windows = _windows(layer, inputs)
    images, height, width = windows.shape[:3]
    features = layer.weight[0].numel()
    if math.prod(windows.shape[3:]) == windows.shape[3]:  # of one place each: a view
        return windows.reshape(-1, features)[::step].contiguous()
    places = torch.arange(0, images * height * width, step)
    at = places // (height * width), places // width % height, places % width
    return windows[at].reshape(-1, features)


def _maps(layer: nn.Module, output: Tensor) -> Tensor:
    """[n, C, H, W], or [n, ..., C] of a linear layer -> [n, H, W, C]."""
    if isinstance(layer, nn.Linear):
        return output.reshape(len(output), -1, 1, output.shape[-1])
    return output.permute(0, 2, 3, 1)


def _windows(layer: nn.Conv2d | nn.Linear, inputs: Tensor) -> Tensor:
    """What a layer reads at each place: [n, H, W, ...], a view, in the order of its weights."""
    if isinstance(layer, nn.Linear):
        return _maps(layer, inputs)
    assert not isinstance(layer.padding, str), layer
    (high, wide), (rows, columns) = layer.padding, layer.kernel_size
    padded = functional.pad(inputs, (wide, wide, high, high)) if high or wide else inputs
    image, channel, down, right = padded.stride()
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    height, width = (
        (size - far) // stride + 1
        for size, far, stride in zip(padded.shape[2:], reach, layer.stride, strict=True)
    )
    return padded.as_strided(
        (len(padded), height, width, padded.shape[1], rows, columns),
        (
            *(image, down * layer.stride[0], right * layer.stride[1]),
            *(channel, down * layer.dilation[0], right * layer.dilation[1]),
        ),
        padded.storage_offset(),
    )
