"""Images as bytes of PNG or JPEG -> one array of pixels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fednas.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Channels", "First", "Images", "other_size", "stack_images"]

Images = NDArray[np.uint8]
Channels = Literal[1, 3]

GREY_MODES = frozenset({"1", "L", "LA"})
COLOUR_MODES = frozenset({"P", "RGB", "RGBA", "CMYK", "YCbCr"})


@dataclass(frozen=True)
class First:
    """The image that all later ones must be as large as: what to call it, and (H, W)."""

    name: str
    size: tuple[int, int]


def stack_images(
    encoded: Iterable[tuple[str, bytes | None]],
    count: int,
    first: First | None,
    channels: Channels | None,
    *,
    place: str = "",
) -> Images:
    """Decode images of one size, one after the other.

    Parameters
    ----------
    encoded : iterable of (str, bytes or None)
        What to call an image, and its bytes; None if it has none.
    count : int
        How many there are, at least one.
    first : First or None
        An image that these must be as large as; None: the first of them.
    channels : 1, 3 or None
        What they are converted to; None: to colour if any of them is in colour.
    place : str
        What messages put before an image's name.

    Returns
    -------
    uint8 array [n, C, H, W]

    Raises
    ------
    DataError
        Names the image.
    """
    images: Images | None = None
    for index, (name, content) in enumerate(encoded):
        pixels = _decoded(content, f"{place}{name}", channels)
        height, width = pixels.shape[1:]
        first = first or First(name, (height, width))
        if (height, width) != first.size:
            raise other_size(f"{place}{name}", (height, width), first)
        if images is None:
            images = np.empty((count, *pixels.shape), np.uint8)
        elif len(pixels) > images.shape[1]:  # the first one in colour, after grey ones
            images = np.repeat(images, len(pixels), axis=1)
        images[index] = pixels
    assert images is not None, "files without rows are skipped"
    return images


def other_size(name: str, size: tuple[int, int], first: First) -> DataError:
    """The error of an image that is not as large as the first one."""
    return DataError(
        f"{name} is {size[0]}x{size[1]} and {first.name} is "
        f"{first.size[0]}x{first.size[1]}; all images must have one size"
    )


def _decoded(content: bytes | None, name: str, channels: Channels | None) -> Images:
    """Pixels [C, H, W]."""
    from PIL import Image, UnidentifiedImageError

    if content is None:
        raise DataError(f"{name} holds no bytes; images must lie in the file")
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode = image.mode
            pixels = _pixels_of(image, channels) if mode in GREY_MODES | COLOUR_MODES else None
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is no readable image: {len(content)} bytes that are neither PNG nor JPEG"
        ) from None
    except Exception as error:  # what Pillow's parsers stumble on: struct.error, KeyError, ...
        words = " ".join(f"{error}".split()) or type(error).__name__
        raise DataError(f"{name} is no readable image: {words}") from error
    if pixels is None:
        raise DataError(f"{name} has mode {mode}; need 8 bits, grey or colour")
    return pixels


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
