"""MobileNet: depthwise separable convolutions (Howard et al., arXiv 1704.04861)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["MobileNetV1"]

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of the thirteen blocks, as in the paper's table 1 (whose last one must be 1 to keep 7 x 7)."""

SMALL = 64
"""Up to this size in pixels the stem keeps the resolution: 32 px end at 2 x 2, 224 px at 7 x 7."""


class Stem(nn.Module):
    """A 3 x 3 convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.norm(self.conv(x)))


class Block(nn.Module):
    """A 3 x 3 depthwise convolution, then a 1 x 1 convolution that mixes the channels."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            width_in, width_in, 3, stride, padding=1, groups=width_in, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(width_in)
        self.pointwise = nn.Conv2d(width_in, width_out, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.depthwise_norm(self.depthwise(x)))
        return torch.relu_(self.pointwise_norm(self.pointwise(x)))


class MobileNetV1(nn.Module):
    """Images [n, channels, size, size] to logits [n, classes].

    Parameters
    ----------
    channels, size : int
        Of the images.
    classes : int
        Number of logits.
    widths : sequence of int
        Filters of the stem and of the thirteen pointwise convolutions.
    """

    def __init__(self, channels: int, size: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = Stem(channels, widths[0], stride=1 if size <= SMALL else 2)
        for i, stride in enumerate(STRIDES):
            self.add_module(f"block{i + 1}", Block(widths[i], widths[i + 1], stride))
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = self.stem(x)
        for i in range(len(STRIDES)):
            x = self.get_submodule(f"block{i + 1}")(x)
        logits: torch.Tensor = self.classifier(x.mean((2, 3)))
        return logits
