"""What a round of clipped updates gives out: their mean with Gaussian noise.

The noise is the system's (`os.urandom`), never derived from a seed: whoever could derive it could
take it off. So it is also the one thing here that cannot be had twice, and no part of it is kept.

Normal numbers in floating point have gaps, by which a sum may tell what was added (Mironov 2012).
Each number is therefore the sum of four from 53 random bits each, as Holohan and Braghin propose
(arXiv 2107.10138), and what is given out is rounded to float32, some 2**29 times as coarse. That
hinders the attacks that are known; a proof would take noise on a grid, which this is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from fednas.work import clipped

__all__ = ["noised_mean", "normal"]

_PART = 1 << 16
"""Numbers that are drawn at a time: it bounds the memory."""

Draw = Callable[[int], npt.NDArray[np.float64]]


def normal(size: int, urandom: Callable[[int], bytes] = os.urandom) -> npt.NDArray[np.float64]:
    """Independent standard normal numbers, float64 [size], by Box and Muller's transform.

    Parameters
    ----------
    size : int
    urandom : callable
        Number -> so many random bytes.
    """
    drawn = np.empty(size)
    for start in range(0, size, _PART):
        part = drawn[start : start + _PART]
        bits = np.frombuffer(urandom(64 * len(part)), np.uint64).reshape(2, 4, len(part))
        radius, angle = ((bits >> np.uint64(11)) + 0.5) * 2.0**-53  # in (0, 1), without its ends
        part[:] = (np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)).sum(axis=0) / 2
    return drawn


def noised_mean(
    start: npt.NDArray[np.float32],
    updates: Iterable[npt.NDArray[np.float32]],
    learnt: npt.NDArray[np.bool_],
    *,
    clip_norm: float,
    noise_multiplier: float,
    asked: int,
    draw: Draw = normal,
) -> npt.NDArray[np.float32]:
    """The start moved by the mean of clipped updates and by noise, float32 [n].

    All updates weigh alike, over the number of clients that were asked: whether a client is among
    them moves the sum by ``clip_norm`` at most. Each is clipped here once more, for what came may
    not be what was asked for.

    Parameters
    ----------
    start : float32 array [n]
        What the round started from; statistics stay as they are.
    updates : iterable of float32 array [n]
        Taken one by one.
    learnt : bool array [n]
    clip_norm : float
    noise_multiplier : float
        Standard deviation of the noise in the sum, over ``clip_norm``.
    asked : int
    draw : callable
        Number -> so many standard normal numbers.
    """
    total = np.zeros(start.shape)
    for update in updates:
        total += clipped(update, clip_norm, learnt)
    total[learnt] += noise_multiplier * clip_norm * draw(int(learnt.sum()))
    return (start + total / asked).astype(np.float32)
