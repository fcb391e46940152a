"""Making up for a cut: each layer is fitted to give what it gave in the network that was cut.

The reconstruction of channel pruning (He, Zhang and Sun, arXiv 1707.06168): layer by layer in
forward order, the whole network's feature maps are fitted by least squares to what the cut network,
fitted so far, computes before them. Here with a ridge that pulls towards the plain cut. It needs
images and no labels, one forward pass of each network, and no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    targets = _outputs(reference, layers, kept, images)
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


def _outputs(
    reference: nn.Module, layers: Mapping[str, Any], kept: Mapping[str, Indices], images: Tensor
) -> dict[str, Tensor]:
    """What the layers of the whole network give at the outputs that are left."""
    found: dict[str, Tensor] = {}

    def read(layer: nn.Module, inputs: object, output: Tensor, name: str) -> None:
        chosen = kept.get(name)
        found[name] = output if chosen is None else output[:, torch.from_numpy(chosen)]

    hooks = [
        reference.get_submodule(name).register_forward_hook(partial(read, name=name))
        for name in layers
    ]
    try:
        reference.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _fit(layer: nn.Conv2d | nn.Linear, inputs: Tensor, target: Tensor) -> None:
    """Ridge regression of what a layer should give on what it reads.

    Both are centred: means are taken up by the bias, or by the normalisation that follows where
    there is none. Grouped convolutions mix nothing that could make up for a cut, and stay.
    """
    features = layer.weight[0].numel()
    if features > MAX_FEATURES or (isinstance(layer, nn.Conv2d) and layer.groups > 1):
        return
    read = inputs if isinstance(layer, nn.Linear) else _patches(layer, inputs)
    wanted = target if isinstance(layer, nn.Linear) else _places(target)
    step = math.ceil(len(read) * features / max(NUMBERS, 4 * features**2))
    read, wanted = read[::step].double(), wanted[::step].double()
    means_read, means_wanted = read.mean(0), wanted.mean(0)
    read, wanted = read - means_read, wanted - means_wanted
    before = layer.weight.reshape(-1, features).double()
    moments = read.T @ read
    ridge = RIDGE * moments.diagonal().mean() + torch.finfo(torch.float32).tiny
    system = moments + ridge * torch.eye(features, dtype=torch.float64)
    missing = (wanted - read @ before.T).T @ read
    after = before + torch.linalg.solve(system, missing, left=False)
    layer.weight.copy_(after.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(means_wanted - after @ means_read)


def _places(maps: Tensor) -> Tensor:
    """[n, C, H, W] -> [n H W, C]."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _patches(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """What a convolution reads at each place: [places, f], in the order of its weight's columns."""
    assert not isinstance(layer.padding, str), layer
    if layer.kernel_size == (1, 1) and layer.padding == (0, 0):
        return _places(inputs[:, :, :: layer.stride[0], :: layer.stride[1]])
    columns = functional.unfold(
        inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])
