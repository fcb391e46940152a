"""The tiny built-in data set: 8x8 handwritten digits, stored inside the package.

UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), the 1,797 images and
their order as scikit-learn's ``load_digits`` has them. Provenance and licence: ``DIGITS.md``.
"""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from fednas.data._dataset import Dataset

__all__ = ["DIGITS", "digits_bytes", "load_digits"]

DIGITS = "digits"
"""The source that is built in."""

TEST_SAMPLES = 360


def digits_bytes() -> bytes:
    """The stored file, an ``.npz`` without pickled objects."""
    return (resources.files("fednas.data") / "digits.npz").read_bytes()


def load_digits() -> Dataset:
    """1,437 training and 360 test images [1, 8, 8] of 10 classes, grey levels 0..255.

    The file holds the original levels 0..16; the last 360 images are the test split.
    """
    with np.load(io.BytesIO(digits_bytes()), allow_pickle=False) as stored:
        levels, labels = stored["levels"], stored["labels"].astype(np.int64)
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]
    return Dataset(
        images=images[:-TEST_SAMPLES],
        labels=labels[:-TEST_SAMPLES],
        test_images=images[-TEST_SAMPLES:],
        test_labels=labels[-TEST_SAMPLES:],
        labels_present=tuple(range(10)),
        files=(DIGITS,),
    )
