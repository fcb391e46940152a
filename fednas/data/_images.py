"""A column of images in a parquet file -> one array of pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fednas.data._columns import first_null, is_binary, is_list, plain
from fednas.data._pixels import decode_pixels
from fednas.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

__all__ = ["Decoded", "First", "Images", "decode_images"]

Images = NDArray[np.uint8]
Channels = Literal[1, 3]

GREY_MODES = frozenset({"1", "L", "LA"})
COLOUR_MODES = frozenset({"P", "RGB", "RGBA", "CMYK", "YCbCr"})
MAGIC = (b"\x89PNG", b"\xff\xd8\xff")
"""How PNG and JPEG begin: tells a list that is their bytes from a list of pixels."""


@dataclass(frozen=True)
class First:
    """The image that all later ones must be as large as: what to call it, and (H, W)."""

    name: str
    size: tuple[int, int]


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
        return Decoded(_decode(encoded, place, first, channels), listed=False)
    if not is_list(column.type):
        raise DataError(
            f"{place}: is {column.type}; must be struct<bytes, path>, binary (PNG or JPEG), or "
            "lists of pixels"
        )
    images = decode_pixels(column, place)
    height, width = images.shape[2:]
    if first is not None and (height, width) != first.size:
        raise _other_size(place, 0, (height, width), first)
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


def _decode(
    column: pa.ChunkedArray, place: str, first: First | None, channels: Channels | None
) -> Images:
    """PNG or JPEG bytes -> uint8 [n, C, H, W]."""
    images: Images | None = None
    for row, pixels in enumerate(_rows(column, place, channels)):
        height, width = pixels.shape[1:]
        first = first or First(f"row {row}", (height, width))
        if (height, width) != first.size:
            raise _other_size(place, row, (height, width), first)
        if images is None:
            images = np.empty((len(column), *pixels.shape), np.uint8)
        elif len(pixels) > images.shape[1]:  # the first one in colour, after grey ones
            images = np.repeat(images, len(pixels), axis=1)
        images[row] = pixels
    assert images is not None, "files without rows are skipped"
    return images


def _rows(column: pa.ChunkedArray, place: str, channels: Channels | None) -> Iterator[Images]:
    """Pixels [C, H, W] of each row."""
    from PIL import Image, UnidentifiedImageError

    for row, encoded in enumerate(column):
        content = _content(encoded)
        if content is None:
            raise DataError(f"{place}: row {row} holds no bytes; images must lie in the file")
        try:
            with Image.open(io.BytesIO(content)) as image:
                mode = image.mode
                pixels = _pixels_of(image, channels) if mode in GREY_MODES | COLOUR_MODES else None
        except UnidentifiedImageError:
            raise DataError(
                f"{place}: row {row} is no readable image: {len(content)} bytes that are neither "
                "PNG nor JPEG"
            ) from None
        except Exception as error:  # what Pillow's parsers stumble on: struct.error, KeyError, ...
            words = " ".join(f"{error}".split()) or type(error).__name__
            raise DataError(f"{place}: row {row} is no readable image: {words}") from error
        if pixels is None:
            raise DataError(f"{place}: row {row} has mode {mode}; need 8 bits, grey or colour")
        yield pixels


def _pixels_of(image: Image.Image, channels: Channels | None) -> Images:
    grey = image.mode in GREY_MODES if channels is None else channels == 1
    pixels = np.asarray(_upright(image).convert("L" if grey else "RGB"))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says, as Hugging Face `datasets` does; as it lies where EXIF is broken."""
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the image itself is whole, and viewers show it
        return image


def _other_size(place: str, row: int, size: Any, first: First) -> DataError:
    return DataError(
        f"{place}: row {row} is {size[0]}x{size[1]} and {first.name} is "
        f"{first.size[0]}x{first.size[1]}; all images must have one size"
    )
