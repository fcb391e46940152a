"""A shard: samples of one client as one array of bytes, one row a sample.

``.npy``, uint8 [n, 2 + C*H*W]: two bytes of label (little-endian), then the pixels in C, H, W
order. The file maps into memory as it is, so a batch reads only its own rows; equal samples give
equal bytes; and nothing in it can run code.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fednas.errors import Corrupt

__all__ = ["MAX_LABEL", "Rows", "encode_rows", "open_rows", "split_rows"]

Rows = NDArray[np.uint8]

LABEL_BYTES = 2
MAX_LABEL = 2 ** (8 * LABEL_BYTES) - 1


def encode_rows(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> bytes:
    """The bytes of a shard, for images uint8 [n, C, H, W] and labels [n] in 0..65535."""
    rows = np.empty((len(images), LABEL_BYTES + images[0].size), np.uint8)
    rows[:, :LABEL_BYTES] = labels.astype("<u2").view(np.uint8).reshape(-1, LABEL_BYTES)
    rows[:, LABEL_BYTES:] = images.reshape(len(images), -1)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, rows, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def open_rows(source: Path | bytes) -> Rows:
    """The rows [n, 2 + C*H*W] of a shard: a read-only memory map of a file, or from bytes.

    Raises
    ------
    Corrupt
        When it is not a shard.
    """
    name = source.name if isinstance(source, Path) else "shard"
    try:
        if isinstance(source, Path):
            rows = np.load(source, mmap_mode="r", allow_pickle=False)
        else:
            rows = np.lib.format.read_array(io.BytesIO(source), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Corrupt(f"{name}: not a shard: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2:
        raise Corrupt(f"{name}: not a shard: a shard is one uint8 array of two dimensions")
    return rows


def split_rows(
    rows: Rows, shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [n, C, H, W], a view of the rows, and labels int64 [n]."""
    pixels = rows[:, LABEL_BYTES:]
    if pixels.shape[1] != np.prod(shape):
        raise Corrupt(f"a row of {pixels.shape[1]} pixels is no image of shape {list(shape)}")
    labels = rows[:, 0].astype(np.int64) + 256 * rows[:, 1].astype(np.int64)
    return pixels.reshape(-1, *shape), labels
