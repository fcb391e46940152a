"""Weight blobs: safetensors without metadata, holding one float32 vector.

Metadata would change the bytes from process to process, and a tensor per layer costs seven times
as much; names, shapes and order follow from the Architecture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fednas.errors import Corrupt

__all__ = ["decode", "encode"]

_NAME = "weights"


def encode(vector: npt.NDArray[np.float32]) -> bytes:
    """The blob of a weight vector; equal vectors give equal bytes.

    Parameters
    ----------
    vector : float32 array of shape [n]
    """
    assert vector.dtype == np.float32, vector.dtype
    assert vector.ndim == 1, vector.shape
    return save({_NAME: np.ascontiguousarray(vector)})


def decode(blob: bytes) -> npt.NDArray[np.float32]:
    """The weight vector of a blob, float32 of shape [n], writable.

    Raises
    ------
    Corrupt
        The bytes are not exactly what `encode` writes.
    """
    try:
        tensors = load(blob)
    except (SafetensorError, KeyError, ValueError) as e:
        raise Corrupt(f"weight blob: not safetensors ({e})") from e
    if set(tensors) != {_NAME}:
        raise Corrupt(f"weight blob: holds {sorted(tensors)[:8]}; must be one tensor {_NAME!r}")
    vector = tensors[_NAME]
    if vector.dtype != np.float32 or vector.ndim != 1:
        raise Corrupt(
            f"weight blob: {vector.dtype} of shape {list(vector.shape)}; must be float32 [n]"
        )
    if encode(vector) != blob:
        raise Corrupt("weight blob: has metadata or padding; must be as fednas writes it")
    return np.array(vector)
