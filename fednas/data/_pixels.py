"""A column of nested lists of pixels -> one array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fednas.data._columns import is_list
from fednas.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["decode_pixels"]


def decode_pixels(column: pa.ChunkedArray, place: str) -> NDArray[np.uint8]:
    """Lists [H][W], [H][W][C] or [C][H][W] of 0..255 -> uint8 [n, C, H, W].

    Chunk by chunk, as arrow's offsets of a whole column may not fit into 32 bits.

    Raises
    ------
    DataError
        Names the place and the row.
    """
    import pyarrow as pa

    sizes: list[int] | None = None
    parts: list[NDArray[np.uint8]] = []
    row = 0
    for chunk in column.chunks:
        if len(chunk) == 0:
            continue
        nested = _flatten(chunk)
        if nested is None or sizes not in (None, nested[0]):
            raise _irregular(column, place)
        sizes, level = nested
        if not pa.types.is_integer(level.type):
            raise DataError(f"{place}: pixels are {level.type}; must be integers 0..255")
        values = level.to_numpy(zero_copy_only=False)
        outside = (values < 0) | (values > 255)
        if outside.any():
            at = int(outside.argmax())
            raise DataError(
                f"{place}: row {row + at // int(np.prod(sizes))} has the pixel {values[at]}; "
                "must be 0..255"
            )
        parts.append(values.astype(np.uint8).reshape(len(chunk), *sizes))
        row += len(chunk)
    assert sizes is not None, "files without rows are skipped"
    images = np.concatenate(parts)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"{place}: each image is {_size(sizes)}; must be [H][W], [H][W][C] or [C][H][W] "
            "with 1 or 3 channels, or the bytes of a PNG or JPEG"
        )
    return images


def _flatten(chunk: pa.Array) -> tuple[list[int], pa.Array] | None:
    """Length of the lists of each level, and the innermost values; None if they differ."""
    import pyarrow.compute as pc

    sizes: list[int] = []
    level = chunk
    while is_list(level.type):
        lengths = pc.unique(pc.list_value_length(level)).to_pylist()
        if level.null_count or len(lengths) != 1 or not lengths[0]:
            return None
        sizes.append(lengths[0])
        level = pc.list_flatten(level)
    return None if level.null_count else (sizes, level)


def _irregular(column: pa.ChunkedArray, place: str) -> DataError:
    """Why the images of a column are no array, by its first row that is not like row 0."""
    first: tuple[int, ...] | None = None
    for row, image in enumerate(column):
        shape = _shape(image.as_py())
        if isinstance(shape, str):
            return DataError(f"{place}: row {row} {shape}")
        first = first or shape
        if shape != first:
            return DataError(
                f"{place}: row {row} is {_size(shape)} and row 0 is {_size(first)}; "
                "all images must have one size and one number of channels"
            )
    raise AssertionError("a column of equal images flattens")


def _shape(value: Any) -> tuple[int, ...] | str:
    """The shape of nested lists, or what is wrong with them."""
    if value is None:
        return "has a null among its pixels; must be integers 0..255"
    if not isinstance(value, list):
        return ()
    if not value:
        return "has an empty list; must hold pixels"
    shapes = [_shape(item) for item in value]
    wrong = next((shape for shape in shapes if isinstance(shape, str)), None)
    if wrong is not None:
        return wrong
    if len(set(shapes)) > 1:
        return "has lines that differ in length; must be a rectangle of pixels"
    return (len(value), *shapes[0])


def _size(shape: tuple[int, ...] | list[int]) -> str:
    return "x".join(map(str, shape))
