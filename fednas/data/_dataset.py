"""A data set in memory: decoded images of one size, numbered classes, a test split kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one size with their classes.

    Parameters
    ----------
    images : uint8 array [n, C, H, W]
        What clients may train on, and what validation is drawn from.
    labels : int64 array [n]
        Classes, in ``0 .. classes - 1``.
    test_images : uint8 array [m, C, H, W]
        Used only in reports; ``m`` may be 0.
    test_labels : int64 array [m]
        Classes as well.
    labels_present : tuple of int
        The label that each class has in the files, ascending.
    files : tuple of str, default ()
        Relative names of what was read, the train files first; of images in folders, the folders,
        which end in ``/``.
    names : tuple of str, default ()
        The name of each class, where classes have names.
    values : int64 array [n] or None, default None
        The value of the partition's column in each training row, numbered from 0.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    labels_present: tuple[int, ...]
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    values: NDArray[np.int64] | None = None

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.labels_present)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width
