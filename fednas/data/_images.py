"""A column of images in a parquet file -> one array of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fednas.data._columns import first_null, is_binary, is_list, plain
from fednas.data._encoded import Channels, First, Images, other_size, stack_images
from fednas.data._pixels import decode_pixels
from fednas.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Decoded", "decode_images"]

MAGIC = (b"\x89PNG", b"\xff\xd8\xff")
"""How PNG and JPEG begin: tells a list that is their bytes from a list of pixels."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of one file.

    Parameters
    ----------
    images : uint8 array [n, C, H, W]
        RGB if any of them is in colour, else grey.
    listed : bool
        Whether they were lists of pixels, which say their channels themselves.
    """

    images: Images
    listed: bool


def decode_images(
    column: pa.ChunkedArray, place: str, first: First | None, channels: Channels | None
) -> Decoded:
    """Any layout of image column, of at least one row, -> pixels.

    Parameters
    ----------
    column : ChunkedArray
    place : str
        File and column, for messages.
    first : First or None
        An image of another file that these must be as large as.
    channels : 1, 3 or None
        What encoded images are converted to; None: to colour if any of them is in colour.

    Raises
    ------
    DataError
        Names the place and the row.
    """
    column = plain(column)
    if (row := first_null(column)) is not None:
        raise DataError(f"{place}: row {row} is null; every row must hold an image")
    encoded = _encoded(column)
    if encoded is not None:
        rows = ((f"row {row}", _content(value)) for row, value in enumerate(encoded))
        images = stack_images(rows, len(encoded), first, channels, place=f"{place}: ")
        return Decoded(images, listed=False)
    if not is_list(column.type):
        raise DataError(
            f"{place}: is {column.type}; must be struct<bytes, path>, binary (PNG or JPEG), or "
            "lists of pixels"
        )
    images = decode_pixels(column, place)
    height, width = images.shape[2:]
    if first is not None and (height, width) != first.size:
        raise other_size(f"{place}: row 0", (height, width), first)
    return Decoded(images, listed=True)


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column of PNG or JPEG bytes, binary or a list of integers a row; None if it is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        inner = plain(pc.struct_field(column, "bytes"))
        return inner if is_binary(inner.type) or _is_byte_list(inner.type) else None
    if is_binary(kind):
        return column
    if _is_byte_list(kind) and (_content(column[0]) or b"").startswith(MAGIC):
        return column
    return None


def _is_byte_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return is_list(kind) and pa.types.is_integer(kind.value_type)


def _content(row: pa.Scalar) -> bytes | None:
    """The bytes of one row; None if it holds none."""
    if not row.is_valid:
        return None
    if is_binary(row.type):
        return bytes(row.as_py())
    if row.values.null_count:
        return None
    values = row.values.to_numpy(zero_copy_only=False)
    if values.dtype == np.int8:  # Java's bytes are signed
        values = values.view(np.uint8)
    inside = not len(values) or 0 <= values.min() <= values.max() <= 255
    return values.astype(np.uint8).tobytes() if inside else None
