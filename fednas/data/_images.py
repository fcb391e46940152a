"""A column of images in a parquet file -> one array of pixels."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fednas.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Images", "decode_images"]

Images = NDArray[np.uint8]
Shape = tuple[int, ...]

GREY_MODES = frozenset({"1", "L", "LA"})
COLOUR_MODES = frozenset({"P", "RGB", "RGBA", "CMYK", "YCbCr"})


def decode_images(column: pa.ChunkedArray, place: str, shape: Shape | None) -> Images:
    """Any layout of image column -> uint8 [n, C, H, W], of the given [C, H, W] if there is one."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind)
    if column.null_count:
        raise DataError(f"{place}: has nulls; every row must hold an image")
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        import pyarrow.compute as pc

        return _decode(pc.struct_field(column, "bytes"), place, shape)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _decode(column, place, shape)
    if _is_list(kind):
        return _pixels(column, place, shape)
    raise DataError(
        f"{place}: is {kind}; must be struct<bytes, path>, binary (PNG or JPEG), or lists of pixels"
    )


def _decode(column: pa.ChunkedArray, place: str, shape: Shape | None) -> Images:
    """PNG or JPEG bytes -> uint8 [n, C, H, W]."""
    from PIL import Image

    images: Images | None = None
    for row, encoded in enumerate(column):
        content = encoded.as_py()
        if content is None:
            raise DataError(f"{place}: row {row} holds no bytes; images must lie in the file")
        try:
            with Image.open(io.BytesIO(content)) as image:
                grey = image.mode in GREY_MODES if shape is None else shape[0] == 1
                if image.mode not in GREY_MODES | COLOUR_MODES:
                    raise DataError(f"{place}: row {row} has mode {image.mode}; need 8 bits")
                pixels = np.asarray(image.convert("L" if grey else "RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{place}: row {row} is no readable image: {error}") from error
        pixels = pixels[None] if grey else pixels.transpose(2, 0, 1)
        shape = shape or pixels.shape
        if images is None:
            images = np.empty((len(column), *shape), np.uint8)
        if pixels.shape != shape:
            raise DataError(
                f"{place}: row {row} is {_size(pixels.shape)} and the first is {_size(shape)}; "
                "all images must have one size"
            )
        images[row] = pixels
    return np.empty((0, *(shape or (1, 1, 1))), np.uint8) if images is None else images


def _pixels(column: pa.ChunkedArray, place: str, shape: Shape | None) -> Images:
    """Lists [H][W], [H][W][C] or [C][H][W] of 0..255 -> uint8 [n, C, H, W]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sizes = [len(column)]
    level: Any = column.combine_chunks()
    while _is_list(level.type):
        lengths = pc.unique(pc.list_value_length(level)).to_pylist()
        level = pc.list_flatten(level)
        if len(lengths) > 1 or None in lengths:
            raise DataError(f"{place}: images differ in size; all must have one size")
        sizes.append(lengths[0] if lengths else 0)
    if not pa.types.is_integer(level.type) or level.null_count:
        raise DataError(f"{place}: pixels are {level.type}; must be integers 0..255")
    values = level.to_numpy(zero_copy_only=False)
    if len(values) and not 0 <= values.min() <= values.max() <= 255:
        raise DataError(f"{place}: pixels {values.min()} to {values.max()}; must be 0..255")
    images: Images = values.astype(np.uint8).reshape(sizes)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"{place}: each image is {_size(sizes[1:])}; must be [H][W], [H][W][C] or [C][H][W] "
            "with 1 or 3 channels"
        )
    if shape is not None and images.shape[1:] != shape:
        raise DataError(
            f"{place}: images are {_size(images.shape[1:])}, those before {_size(shape)}; "
            "all must have one size"
        )
    return images


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _size(shape: Shape | list[int]) -> str:
    return "x".join(map(str, shape))
