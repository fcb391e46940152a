"""Federated averaging (McMahan et al., arXiv 1602.05629): the mean of weights by samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["weighted_mean"]


def weighted_mean(
    updates: Iterable[tuple[npt.NDArray[np.float32], float]],
) -> npt.NDArray[np.float32]:
    """The weighted mean of vectors, taken one by one in the order given.

    Two vectors of memory whatever the number of updates; the order decides the last bits, so
    callers sort by client.

    Parameters
    ----------
    updates : iterable of (vector, weight)
        Float32 vectors of one length; weights above 0.
    """
    total: npt.NDArray[np.float64] | None = None
    weights = 0.0
    for vector, weight in updates:
        if total is None:
            total = np.zeros(vector.shape, dtype=np.float64)
        total += vector.astype(np.float64) * weight
        weights += weight
    if total is None or weights <= 0:
        raise ValueError("updates: got none; a mean needs at least one of weight above 0")
    return (total / weights).astype(np.float32)
