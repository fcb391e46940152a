"""Images in one folder a class: ``train/<class>/*.png``, as torchvision's ``ImageFolder`` reads.

A file's class is the folder below ``train`` or ``test`` that it lies in, however deep. Classes are
numbered in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from fednas.data._dataset import Dataset
from fednas.data._encoded import First, stack_images
from fednas.data._labels import MAX_CLASSES
from fednas.errors import DataError

__all__ = ["check_class_folders", "class_files", "load_class_folders"]

SUFFIXES = (".png", ".jpg", ".jpeg")
OTHER_SUFFIXES = (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")
"""Images that are refused: left out in silence they would be missed."""


def class_files(names: Sequence[str], split: str) -> list[str]:
    """Those names that are images of a class of a split; hidden ones are left out before."""
    return [
        name
        for name in names
        if name.startswith(f"{split}/") and name.count("/") >= 2 and _is_image(name)
    ]


def check_class_folders(names: Sequence[str], split: str, where: str) -> None:
    """Everything in a split's folder that looks like an image has a class, and is one.

    Raises
    ------
    DataError
        An image beside the folders, one of another format, or a class without images.
    """
    chosen = {_class_of(name) for name in class_files(names, split)}
    for name in names:
        if not name.startswith(f"{split}/"):
            continue
        if name.lower().endswith(OTHER_SUFFIXES):
            raise DataError(f"{where}: {name} is neither PNG nor JPEG; convert it or remove it")
        if name.count("/") == 1:
            if _is_image(name):
                file = name.rpartition("/")[2]
                raise DataError(
                    f"{where}: {name} lies in no class's folder; must be {split}/<class>/{file}"
                )
        elif _class_of(name) not in chosen:
            raise DataError(
                f"{where}: {split}/{_class_of(name)} holds no image; put *.png or *.jpg there or "
                "remove it"
            )


def load_class_folders(
    files: Mapping[str, bytes | Path], train: Sequence[str], test: Sequence[str], where: str
) -> Dataset:
    """Decode the images of a data set.

    Parameters
    ----------
    files : mapping of name to bytes or path
    train, test : sequence of str
        The names of each split, in order.
    where : str
        What messages call the data set.

    Returns
    -------
    Dataset
        RGB if any training image is in colour, else grey; test images follow the training images.

    Raises
    ------
    DataError
        Names the file, and what would be right.
    """
    trained = sorted({_class_of(name) for name in train})
    if len(trained) < 2:
        raise DataError(f"{where}: train holds only the class {trained[0]!r}; need two")
    classes = sorted({_class_of(name) for name in (*train, *test)})
    if len(classes) > MAX_CLASSES:
        raise DataError(f"{where}: holds {len(classes)} classes; there can be {MAX_CLASSES}")
    numbers = {name: number for number, name in enumerate(classes)}

    def encoded(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, _content(name, files[name])

    try:
        images = stack_images(encoded(train), len(train), None, None)
        channels, height, width = images.shape[1:]
        if height != width:
            raise DataError(
                f"{train[0]}: images are {height}x{width}; the networks take square ones"
            )
        test_images = images[:0]
        if test:
            first = First(train[0], (height, width))
            test_images = stack_images(encoded(test), len(test), first, 3 if channels == 3 else 1)
    except MemoryError as error:
        raise DataError(f"{where}: its images do not fit into memory: {error}") from error
    labels, test_labels = (
        np.array([numbers[_class_of(name)] for name in split], np.int64) for split in (train, test)
    )
    return Dataset(
        images,
        labels,
        test_images,
        test_labels,
        labels_present=tuple(range(len(classes))),
        files=tuple(dict.fromkeys(_folder(name) for name in (*train, *test))),
        names=tuple(classes),
    )


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _class_of(name: str) -> str:
    return name.split("/")[1]


def _folder(name: str) -> str:
    return "/".join(name.split("/")[:2]) + "/"


def _content(name: str, content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return content
    try:
        return content.read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from None
