"""The small convolutional network of LEAF's CelebA task (Caldas et al., arXiv 1812.01097).

As its program has it, pooling keeps the border of odd sizes, so that 84 pixels end at 6 x 6. The
bias of a convolution is left out, since the normalisation that follows takes it away.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["ConvNet"]


class Layer(nn.Module):
    """A 3 x 3 convolution, normalised, and 2 x 2 max pooling, rounded up."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width_out)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.pool(self.norm(self.conv(x))))


class ConvNet(nn.Module):
    """Images [n, channels, size, size] to logits [n, classes].

    Parameters
    ----------
    channels, size : int
        Of the images.
    classes : int
        Number of logits.
    widths : sequence of int
        Filters of each convolution.
    """

    def __init__(self, channels: int, size: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in zip([channels, *widths], widths, strict=False):
            layers.append(Layer(width_in, width_out))
            size = -(-size // 2)
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1] * size * size, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        logits: torch.Tensor = self.classifier(self.layers(x).flatten(1))
        return logits
