"""Start weights from elsewhere: a safetensors file of named tensors -> the weight vector.

Two files are taken: what `encode` writes, one vector, and what
``safetensors.torch.save_file(network.state_dict(), path)`` writes for the same network. The names
and shapes of the network are given, so that neither torch nor the network is needed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from fednas.errors import Corrupt, DataError
from fednas.models._codec import decode

__all__ = ["state_vector"]

Vector = NDArray[np.float32]
Shapes = Mapping[str, tuple[int, ...]]

ONE_VECTOR = {"weights"}
COUNTER = "num_batches_tracked"
WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How ``torch.save`` begins a file, now and before version 1.6."""

NAMED = 3
"""At most this many tensors are named in a message."""


def state_vector(blob: bytes, shapes: Shapes) -> Vector:
    """The weight vector of a network from the bytes of a safetensors file.

    Parameters
    ----------
    blob : bytes
        One vector as fednas writes it, or the state dict of the same network: float16, bfloat16,
        float32 or float64, with or without ``num_batches_tracked``, metadata, and the prefix of
        DataParallel or torch.compile.
    shapes : mapping of name to shape
        Every tensor of the network, in the order of the vector (`layout`).

    Returns
    -------
    float32 array of shape [n]

    Raises
    ------
    DataError
        In words that go on after the path of the file: what is wrong and what would be right.
    """
    tensors = _tensors(blob)
    if tensors.keys() == ONE_VECTOR != shapes.keys():
        return _finite(_one_vector(blob, sum(map(prod, shapes.values()))), "its vector")
    tensors = _unwrapped(tensors)
    tensors = {name: t for name, t in tensors.items() if name.rpartition(".")[2] != COUNTER}
    _check_names(tensors, shapes)
    parts = []
    for name, shape in shapes.items():
        found = tuple(tensors[name]["shape"])
        if found != shape:
            raise DataError(
                f"tensor {name!r} has shape {list(found)}; this network needs {list(shape)}"
            )
        parts.append(_finite(_values(tensors[name], name), f"tensor {name!r}"))
    return np.concatenate(parts)


def _tensors(blob: bytes) -> dict[str, dict[str, Any]]:
    """Dtype, shape and bytes of each tensor."""
    try:
        return dict(deserialize(blob))  # type: ignore[no-untyped-call]  # compiled
    except SafetensorError as error:
        if not blob:
            raise DataError("is empty; must be a safetensors file") from None
        if blob.startswith(PICKLES):
            raise DataError(
                "is a pickle (torch.save), which can run code when it is read; save it with "
                "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')"
            ) from None
        raise DataError(
            f"is no safetensors file ({' '.join(str(error).split())}); must be a rung of an "
            "earlier search, or the network's state dict saved with safetensors"
        ) from None


def _one_vector(blob: bytes, length: int) -> Vector:
    try:
        vector = decode(blob)
    except Corrupt as error:
        raise DataError(str(error)) from None
    if len(vector) != length:
        raise DataError(
            f"holds {len(vector)} weights; this network needs {length}: they are of another "
            "network, of another size of image, or of another number of classes; a rung of "
            "another search needs its ladder.json beside it"
        )
    return vector


def _unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    for wrapper in WRAPPERS * 2:  # either may lie around the other
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors


def _check_names(tensors: Mapping[str, Any], shapes: Shapes) -> None:
    missing = [name for name in shapes if name not in tensors]
    unexpected = sorted(tensors.keys() - shapes.keys())
    wrong = []
    if missing:
        wrong.append(f"lacks {_some(missing)}")
    if unexpected:
        wrong.append(f"has {_some(unexpected)}, which this network does not have")
    if wrong:
        raise DataError(f"{' and '.join(wrong)}; must be the state dict of this network")


def _values(tensor: Mapping[str, Any], name: str) -> Vector:
    """The values as float32, flat; those of float64 rounded."""
    kind, data = tensor["dtype"], tensor["data"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if kind not in FLOATS:
        raise DataError(
            f"tensor {name!r} is of type {kind}; must be float32, float64, float16 or bfloat16"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused
        return np.frombuffer(data, FLOATS[kind]).astype(np.float32)


def _finite(values: Vector, what: str) -> Vector:
    if not np.isfinite(values).all():
        raise DataError(f"{what} holds NaN or infinity; must be finite weights")
    return values


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(map(repr, names[:NAMED])) + (f" and {more} more" if more > 0 else "")
