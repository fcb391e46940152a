"""Networks of one's own that a search can use, in part or not at all."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

Widths = tuple[int, ...]


class _Net(nn.Module):
    """Two convolutions with something between, and the mean of the pixels."""

    def __init__(self, channels: int, classes: int, first: int, second: int, between: nn.Module):
        super().__init__()
        self.first = nn.Conv2d(channels, first, 3, padding=1)
        self.between = between
        self.second = nn.Conv2d(first, second, 3, padding=1)
        self.classifier = nn.Linear(second, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.between(self.first(x))).relu()
        return self.classifier(x.mean((2, 3)))


def good(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Net(channels, classes, *widths, between=nn.BatchNorm2d(widths[0]))


def in_part(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Net(channels, classes, *widths, between=nn.GroupNorm(1, widths[0]))


def in_reverse(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Net(channels, classes, *reversed(widths), between=nn.ReLU())


def fixed(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Net(channels, classes, widths[0], 7, between=nn.ReLU())


def deaf(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    """Neither width changes anything."""
    return _Net(channels, classes, 4, 6, between=nn.ReLU())


class _Images(nn.Conv2d):
    """Answers images."""


def images(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Images(channels, widths[0], 1)


class _Hungry(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def hungry(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Hungry()


class _Uncounted(_Net):
    """Multiplies by a matrix that no layer holds."""

    def __init__(self, channels: int, classes: int, first: int, second: int):
        super().__init__(channels, classes, first, second, nn.ReLU())
        self.register_buffer("matrix", torch.eye(classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(super().forward(x), self.matrix)


def uncounted(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Uncounted(channels, classes, *widths)


class _Mirrored(_Net):
    """Mirrors its images by a float32 grid that is no weight and in no state dict."""

    def __init__(self, channels: int, size: int, classes: int, first: int, second: int):
        super().__init__(channels, classes, first, second, nn.ReLU())
        mirror = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
        grid = functional.affine_grid(mirror, [1, channels, size, size], align_corners=False)
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = self.grid.expand(len(x), -1, -1, -1)
        return super().forward(functional.grid_sample(x, grid, align_corners=False))


def mirrored(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Mirrored(channels, size, classes, *widths)


class _Frozen(_Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).detach()


def frozen(channels: int, size: int, classes: int, widths: Widths) -> nn.Module:
    return _Frozen(channels, classes, *widths, between=nn.ReLU())
