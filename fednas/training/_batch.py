"""From stored bytes to what a network takes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fednas.spec import Normalize

__all__ = ["Shape", "normalise"]

Shape = tuple[int, int, int]
"""(C, H, W) of one image."""


def normalise(images: NDArray[np.uint8], by: Normalize | None = None) -> Tensor:
    """uint8 [n, C, H, W] in 0..255 -> float32 ``(x / 255 - mean) / std``, channels_last.

    Parameters
    ----------
    images : uint8 array [n, C, H, W]
    by : Normalize, optional
        Mean and standard deviation of each channel; 0.5 and 0.25 if there is none.
    """
    batch = torch.from_numpy(images).to(torch.float32, memory_format=torch.channels_last)
    if by is None:
        return batch.mul_(4 / 255).sub_(2)
    mean, std = np.array(by.mean), np.array(by.std)
    return batch.mul_(_by_channel(1 / (255 * std))).sub_(_by_channel(mean / std))


def _by_channel(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).view(-1, 1, 1)
