"""MobileNetV2: inverted residuals and linear bottlenecks (Sandler et al., arXiv 1801.04381)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import relu6

__all__ = ["MobileNetV2"]

STAGES = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))
"""(blocks, stride of the first block) as in the paper's table 2."""

SMALL = 64
"""Up to this size in pixels the stem keeps the resolution: 32 px end at 2 x 2, 224 px at 7 x 7."""


class Stem(nn.Module):
    """A 3 x 3 convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = relu6(self.norm(self.conv(x)), inplace=True)
        return y


class Block(nn.Module):
    """Widen by 1 x 1, filter by a 3 x 3 depthwise convolution, narrow by 1 x 1 without activation.

    Where it follows a block of its own stage, its input is added: both then share their width.
    """

    def __init__(
        self, width_in: int, hidden: int | None, width_out: int, stride: int, *, residual: bool
    ) -> None:
        super().__init__()
        self.residual = residual
        if hidden is not None:
            self.expand = nn.Conv2d(width_in, hidden, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(hidden)
        hidden = hidden or width_in
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, width_out, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x
        if hasattr(self, "expand"):
            y = relu6(self.expand_norm(self.expand(y)), inplace=True)
        y = relu6(self.depthwise_norm(self.depthwise(y)), inplace=True)
        y = self.project_norm(self.project(y))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Images [n, channels, size, size] to logits [n, classes]; without the paper's dropout.

    Parameters
    ----------
    channels, size : int
        Of the images.
    classes : int
        Number of logits.
    widths : sequence of int
        Filters, in forward order: of the stem; of each block's expansion, which the first block
        lacks; after the first expansion of a stage, of the stage's outputs, which are added; of
        the last convolution.
    """

    def __init__(self, channels: int, size: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        width = iter(widths)
        last = next(width)
        self.stem = Stem(channels, last, stride=1 if size <= SMALL else 2)
        blocks: list[nn.Module] = []
        for count, first_stride in STAGES:
            for i in range(count):
                hidden = next(width) if blocks else None
                if i == 0:
                    block = Block(last, hidden, last := next(width), first_stride, residual=False)
                else:
                    block = Block(last, hidden, last, 1, residual=True)
                blocks.append(block)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(last, widths[-1], 1, bias=False)
        self.head_norm = nn.BatchNorm2d(widths[-1])
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = self.blocks(self.stem(x))
        x = relu6(self.head_norm(self.head(x)), inplace=True)
        logits: torch.Tensor = self.classifier(x.mean((2, 3)))
        return logits
