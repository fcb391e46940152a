"""Updates of bounded length: what a client may change is the same for all, however its data are."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np
import numpy.typing as npt

__all__ = ["clipped", "learnt"]

_STATISTICS = ("running_mean", "running_var")


def learnt(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> npt.NDArray[np.bool_]:
    """Which numbers of a weight vector are learnt, and no batch-norm statistics: bool [n].

    Statistics are recomputed on rows of the cloud before a network is evaluated, so those of a
    client's data need not leave it.

    Parameters
    ----------
    tensors : iterable of (str, shape)
        Name and shape of every tensor, in the order of the vector.
    """
    parts = [np.full(prod(shape), not name.endswith(_STATISTICS)) for name, shape in tensors]
    return np.concatenate(parts)


def clipped(
    update: npt.NDArray[np.floating], limit: float, learnt: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """An update of L2 norm ``limit`` at most, its statistics 0; one that is not finite is all 0.

    McMahan et al., Learning differentially private recurrent language models, arXiv 1710.06963,
    by one norm for the whole network.

    Parameters
    ----------
    update : array [n]
    limit : float
    learnt : bool array [n]
        See `learnt`.
    """
    exact = np.where(learnt, update, 0.0).astype(np.float64)
    largest = float(np.abs(exact).max(initial=0.0))
    if not np.isfinite(largest) or not largest:
        return np.zeros_like(exact)
    norm = largest * float(np.linalg.norm(exact / largest))  # squares neither over- nor underflow
    return exact if norm <= limit else exact * (limit / norm)
