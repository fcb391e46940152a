"""The layers of a network as a device runs them: found by listening to one forward pass.

A convolution or linear layer begins an operation; the normalisation and the activation that torch
runs next belong to it. Additions, pooling and reshaping are left to the constant of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fednas.resources import Operation

__all__ = ["ACTIVATIONS", "NORMS", "find_operations"]

Extent = tuple[int, tuple[int, ...]]

NORMS = {"native_batch_norm": "batch_norm", "native_group_norm": "group_norm"}
"""Normalisation by torch's name for it."""
ACTIVATIONS = {
    "relu": "relu",
    "hardtanh": "relu6",
    "hardswish": "hardswish",
    "hardsigmoid": "hardsigmoid",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "gelu": "gelu",
}
"""Activations by torch's name for them."""


@dataclass
class _Heard:
    weight: int
    depthwise: bool
    kernel: int
    stride: int
    size: int
    parts: list[str] = field(default_factory=list)


class _Listener(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.heard: list[_Heard] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if name == "convolution":
            images, weight, groups = args[0], args[1], args[8]
            self.heard.append(
                _Heard(
                    weight.untyped_storage().data_ptr(),
                    groups > 1 and groups == images.shape[1],
                    weight.shape[-1],
                    args[3][0],
                    images.shape[-1],
                )
            )
        elif name in ("addmm", "mm"):
            self.heard.append(_Heard(args[-1].untyped_storage().data_ptr(), False, 1, 1, 1))
        elif self.heard and (part := NORMS.get(name) or ACTIVATIONS.get(name)):
            self.heard[-1].parts.append(part)
        return func(*args, **(kwargs or {}))


def find_operations(
    module: nn.Module, image: torch.Tensor, extent: Callable[[str, int], Extent]
) -> tuple[Operation, ...]:
    """The operations of a network in forward order.

    Parameters
    ----------
    module : nn.Module
        Left in evaluation mode.
    image : tensor of shape [1, C, H, W]
    extent : callable
        Name and dimension of a weight tensor -> its length: a factor, and indices of widths.
    """
    names = {
        layer.weight.untyped_storage().data_ptr(): (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    with torch.no_grad(), _Listener() as listener:
        module.eval()(image)
    found = []
    for heard in listener.heard:
        if heard.weight not in names:  # no layer's own: the count of MACs will tell of it
            continue
        name, layer = names[heard.weight]
        kind = "depthwise" if heard.depthwise else "conv"
        outputs = extent(f"{name}.weight", 0)
        found.append(
            Operation(
                name="+".join(["linear" if isinstance(layer, nn.Linear) else kind, *heard.parts]),
                kernel=heard.kernel,
                stride=heard.stride,
                size=heard.size,
                inputs=outputs if heard.depthwise else extent(f"{name}.weight", 1),
                outputs=outputs,
            )
        )
    return tuple(found)
