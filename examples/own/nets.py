"""A small residual network, as FedNAS wants one's own: a function of images, classes and widths."""

import torch
from torch import nn


class Net(nn.Module):
    """Images [n, channels, size, size] to logits [n, classes]."""

    def __init__(self, channels: int, classes: int, outer: int, inner: int, last: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, outer, 3, padding=1), nn.BatchNorm2d(outer))
        self.branch = nn.Sequential(
            nn.Conv2d(outer, inner, 3, padding=1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, outer, 3, padding=1),
            nn.BatchNorm2d(outer),
        )
        self.head = nn.Sequential(
            nn.Conv2d(outer, last, 3, stride=2, padding=1), nn.BatchNorm2d(last), nn.ReLU()
        )
        self.classifier = nn.Linear(last, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = self.stem(images).relu()
        x = (x + self.branch(x)).relu()  # what is added has the same filters: one group, one width
        return self.classifier(self.head(x).mean((2, 3)))


def build(channels: int, size: int, classes: int, widths: tuple[int, ...]) -> nn.Module:
    """The network with one width for each group, in forward order."""
    outer, inner, last = widths
    return Net(channels, classes, outer, inner, last)
