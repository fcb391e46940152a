"""The proof that a group can be cut: masked equals cut, in float64.

A filter that nobody reads might as well not be there. So the network in which the dropped
filters' readers are zero must give the same logits as the network built without them. A coupled
tensor that the table misses, a wrong repeat, a layer that mixes over channels: all differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.func import functional_call

from fednas.models import layout
from fednas.space._derive import cut
from fednas.space._space import Group

__all__ = ["probe_weights", "why_not_cut"]

TOLERANCE = 1e-9
"""Of the largest logit. Reordered float64 sums differ by some 1e-14, wrong cuts by some 1e-1."""

Rebuild = Callable[[Sequence[int]], nn.Module]


def why_not_cut(
    group: Group,
    module: nn.Module,
    widths: Sequence[int],
    rebuild: Rebuild,
    weights: Mapping[str, npt.NDArray[np.float64]],
    images: torch.Tensor,
) -> str | None:
    """Why masked differs from cut, or None where they are equal.

    Parameters
    ----------
    group : Group
        At least two filters wide.
    module : nn.Module
        The whole network; only its shapes matter, and it is left in evaluation mode, in float64.
    widths : sequence of int
        Of the whole network.
    rebuild : callable
        Gives the network of other widths.
    weights : dict of float64 arrays
        Of the whole network: `probe_weights`.
    images : float64 tensor of shape [n, C, H, W]
    """
    kept = [i for i in range(group.width) if i % 3 != 1]  # gaps: a shifted index would show
    narrow = [*widths]
    narrow[group.choice] = len(kept)
    smaller = rebuild(narrow)
    fewer = cut(weights, group, kept)
    for name, shape in layout(smaller):
        if fewer[name].shape != shape:
            return f"{name} is cut to {list(fewer[name].shape)}, the narrow network has {[*shape]}"
    masked = _logits(module, _masked(weights, group, kept), images)
    difference = (masked - _logits(smaller, fewer, images)).abs().max()
    if not difference <= TOLERANCE * masked.abs().max():
        return f"masked and cut differ by {float(difference):.2g} in the logits"
    return None


def probe_weights(module: nn.Module, seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """Random weights under which every filter counts: most activations are alive.

    No two filters are alike in any tensor, running statistics included.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in layout(module):
        if len(shape) >= 2:
            fan_in = np.prod(shape[1:])
            weights[name] = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        elif name.endswith(("weight", "running_var")):
            weights[name] = rng.uniform(0.5, 1.5, shape)
        else:
            weights[name] = rng.uniform(0.0, 1.0, shape)
    return weights


def _masked(
    weights: Mapping[str, npt.NDArray[np.float64]], group: Group, kept: Sequence[int]
) -> dict[str, npt.NDArray[np.float64]]:
    result = dict(weights)
    for part in group.slices:
        if part.dim == 1:
            dropped = np.repeat(~np.isin(np.arange(group.width), kept), part.repeat)
            result[part.tensor] = result[part.tensor].copy()
            result[part.tensor][:, dropped] = 0.0
    return result


def _logits(module: nn.Module, weights: Mapping[str, Any], images: torch.Tensor) -> torch.Tensor:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(w)) for name, w in weights.items()}
    with torch.no_grad():
        # Buffers that are in no state dict come along.
        logits: torch.Tensor = functional_call(module.double().eval(), tensors, (images,))
    return logits
