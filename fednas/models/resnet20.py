"""ResNet-20 for small images (He et al., arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["ResNet20"]

STRIDES = (1, 2, 2)
"""Of the first block of each stage."""

BLOCKS = 3
"""In each stage."""


class Stem(nn.Module):
    """A 3 x 3 convolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.norm(self.conv(x)))


class Block(nn.Module):
    """Two 3 x 3 convolutions, whose output is added to the input.

    Where the shape changes the input goes through a 1 x 1 convolution (the paper's option B): one
    without parameters (option A) would tie this stage's filters to the first ones of the next.
    """

    def __init__(self, width_in: int, hidden: int, width_out: int, stride: int, *, same: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, hidden, 3, stride, padding=1, bias=False)
        self.conv1_norm = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, width_out, 3, padding=1, bias=False)
        self.conv2_norm = nn.BatchNorm2d(width_out)
        if not same:
            self.shortcut = nn.Conv2d(width_in, width_out, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu_(self.conv1_norm(self.conv1(x)))
        y = self.conv2_norm(self.conv2(y))
        if hasattr(self, "shortcut"):
            x = self.shortcut_norm(self.shortcut(x))
        return torch.relu_(x + y)


class ResNet20(nn.Module):
    """Images [n, channels, size, size] to logits [n, classes].

    Parameters
    ----------
    channels, size : int
        Of the images; whatever their size, they end at a quarter of it.
    classes : int
        Number of logits.
    widths : sequence of int
        Filters, in forward order: of the stem and all outputs of the first stage, which are
        added; of the first convolution of each block; in the second and third stage, after the
        first of these, of the stage's outputs.
    """

    def __init__(self, channels: int, size: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        width = iter(widths)
        last = next(width)
        self.stem = Stem(channels, last)
        blocks: list[nn.Module] = []
        for stage, stride in enumerate(STRIDES):
            for i in range(BLOCKS):
                hidden = next(width)
                if stage > 0 and i == 0:
                    block = Block(last, hidden, last := next(width), stride, same=False)
                else:
                    block = Block(last, hidden, last, 1, same=True)
                blocks.append(block)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = self.blocks(self.stem(x))
        logits: torch.Tensor = self.classifier(x.mean((2, 3)))
        return logits
