"""From stored bytes to what a network takes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Shape", "normalise"]

Shape = tuple[int, int, int]
"""(C, H, W) of one image."""


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, C, H, W] in 0..255 -> float32 ``(x / 255 - 0.5) / 0.25``, channels_last."""
    batch = torch.from_numpy(images).to(torch.float32, memory_format=torch.channels_last)
    return batch.mul_(4 / 255).sub_(2)
