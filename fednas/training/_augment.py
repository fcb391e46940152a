"""Images of a batch, changed at random: what every epoch sees of them is new.

Flips and crops are one lookup: where in its image each pixel comes from. So a batch is copied once,
as bytes, whatever is done to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fednas.seeds import derive_seed
from fednas.spec import Augmentation

__all__ = ["augment"]


def augment(
    images: NDArray[np.uint8], kinds: Sequence[Augmentation], seed: int
) -> NDArray[np.uint8]:
    """Change each image of a batch by its own draw; without ``kinds``, the images themselves.

    Parameters
    ----------
    images : uint8 array [n, C, H, W]
    kinds : sequence of str
        ``crop``: as cut from the image with H/8 and W/8 pixels more at each edge (He et al., arXiv
        1512.03385, section 4.2), which mirror those inside, not zeros: these would be no colour
        of the data. Images of fewer than 8 pixels stay. ``flip``: left and right change sides with
        a chance of one half. One of them draws the same whether the other is there or not.
    seed : int
        Of this batch.

    Returns
    -------
    uint8 array [n, C, H, W]
    """
    if not kinds:
        return images
    count, channels, height, width = images.shape
    rows = np.broadcast_to(np.arange(height), (count, height))
    columns = np.broadcast_to(np.arange(width), (count, width))
    if "crop" in kinds:
        rng = np.random.default_rng(derive_seed(seed, "crop"))
        rows = _mirrored(rows + _offsets(rng, count, height), height)
        columns = _mirrored(columns + _offsets(rng, count, width), width)
    if "flip" in kinds:
        flipped = np.random.default_rng(derive_seed(seed, "flip")).random((count, 1)) < 0.5
        columns = np.where(flipped, columns[:, ::-1], columns)
    places = rows[:, :, None] * width + columns[:, None, :]
    index = torch.from_numpy(places.reshape(count, 1, -1)).expand(-1, channels, -1)
    pixels = torch.from_numpy(images).reshape(count, channels, -1)
    found: NDArray[np.uint8] = pixels.gather(2, index).reshape(images.shape).numpy()
    return found


def _offsets(rng: np.random.Generator, count: int, size: int) -> NDArray[np.int64]:
    """[count, 1]: where in the larger image each crop begins, from the image's own corner."""
    return rng.integers(-(size // 8), size // 8, (count, 1), endpoint=True)


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Positions from ``-size + 1`` on, those outside replaced by their mirror images inside."""
    last = size - 1
    inside: NDArray[np.int64] = last - np.abs(last - np.abs(places))
    return inside
