"""A data set in memory: decoded images of one size, integer labels, a test split kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one size with their labels.

    Parameters
    ----------
    images : uint8 array [n, C, H, W]
        What clients may train on, and what validation is drawn from.
    labels : int64 array [n]
        In ``0 .. classes - 1``.
    test_images : uint8 array [m, C, H, W]
        Used only in reports; ``m`` may be 0.
    test_labels : int64 array [m]
    classes : int
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width
