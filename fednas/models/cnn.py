"""The small convolutional network of LEAF's CelebA task (Caldas et al., arXiv 1812.01097)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["ConvNet"]


class Layer(nn.Module):
    """A 3 x 3 convolution and, unless the image is one pixel already, 2 x 2 max pooling."""

    def __init__(self, width_in: int, width_out: int, *, pool: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width_out)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.pool(torch.relu_(self.norm(self.conv(x))))
        return pooled


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
            layers.append(Layer(width_in, width_out, pool=size > 1))
            size = max(1, size // 2)
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1] * size * size, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        logits: torch.Tensor = self.classifier(self.layers(x).flatten(1))
        return logits
