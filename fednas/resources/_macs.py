"""MACs and parameters of a module as it stands. Torch is imported where it is needed only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["count_macs", "count_params"]


def count_macs(module: torch.nn.Module, images: torch.Tensor) -> int:
    """Multiply-accumulates of one forward pass.

    Half of `torch.utils.flop_counter`'s count: convolutions and matrix products; what
    normalisation, activations and pooling take is not counted.

    Parameters
    ----------
    module : torch.nn.Module
        Run in evaluation mode; its own mode comes back.
    images : tensor of shape [n, C, H, W]
        One image gives the MACs per image.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    modes = [(layer, layer.training) for layer in module.modules()]
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            module.eval()(images)
    finally:
        for layer, training in modes:
            layer.training = training
    flops: int = counter.get_total_flops()
    return flops // 2


def count_params(module: torch.nn.Module) -> int:
    """Number of trainable values; running statistics are none."""
    return sum(parameter.numel() for parameter in module.parameters())
