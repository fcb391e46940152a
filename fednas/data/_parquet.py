"""Parquet files in the Hugging Face image layout -> `Dataset`.

A row is an image and an integer label. The image is ``struct<bytes, path>`` (what the ``Image``
feature of Hugging Face ``datasets`` writes), plain encoded bytes, or nested lists of pixels.
pyarrow and pillow are imported when the first file is read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fednas.data._dataset import Dataset
from fednas.data._images import Images, decode_images
from fednas.data._rows import MAX_LABEL
from fednas.errors import DataError
from fednas.spec import Columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["load_parquet", "splits"]

Labels = NDArray[np.int64]
Content = bytes | Path


def splits(files: Mapping[str, Content], where: str) -> tuple[list[str], list[str]]:
    """The names of the train and of the test files, in order.

    Raises
    ------
    DataError
        When there is no train file.
    """
    names = sorted(name for name in files if name.endswith(".parquet"))
    train = [name for name in names if PurePosixPath(name).name.startswith("train")]
    test = [name for name in names if PurePosixPath(name).name.startswith("test")]
    if not train:
        found = ", ".join(sorted(files)[:8]) or "nothing"
        raise DataError(
            f"{where}: no train*.parquet there (found: {found}); spec.data.source must name a "
            "folder with train*.parquet and, for a test split, test*.parquet"
        )
    return train, test


def load_parquet(
    files: Mapping[str, Content], columns: Columns, *, where: str = "data set"
) -> Dataset:
    """Decode the files of a data set.

    Parameters
    ----------
    files : mapping of name to bytes or path
        ``train*.parquet`` and optionally ``test*.parquet``; other files are not read.
    columns : Columns
        Names of the image and the label column.
    where : str
        What messages call the data set.

    Returns
    -------
    Dataset
        Grey images if the first training image is grey, else RGB.

    Raises
    ------
    DataError
        Names the file and the column or row, and what would be right.
    """
    train, test = splits(files, where)
    images, labels = _read(files, train, columns, None)
    if test:
        test_images, test_labels = _read(files, test, columns, images.shape[1:])
    else:
        test_images, test_labels = images[:0], labels[:0]
    if len(images) == 0:
        raise DataError(f"{where}: the train files hold no rows")
    classes = int(max(labels.max(initial=0), test_labels.max(initial=0))) + 1
    if classes < 2:
        raise DataError(f"{where}: column {columns.label!r} holds only the label 0; need two")
    return Dataset(images, labels, test_images, test_labels, classes)


def _read(
    files: Mapping[str, Content],
    names: list[str],
    columns: Columns,
    shape: tuple[int, ...] | None,
) -> tuple[Images, Labels]:
    images: list[Images] = []
    labels: list[Labels] = []
    for name in names:
        table = _table(name, files[name], columns)
        labels.append(_labels(table.column(columns.label), f"{name}: column {columns.label!r}"))
        place = f"{name}: column {columns.image!r}"
        decoded = decode_images(table.column(columns.image), place, shape)
        if decoded.shape[2] != decoded.shape[3]:
            height, width = decoded.shape[2:]
            raise DataError(f"{place}: images are {height}x{width}; the networks take square ones")
        shape = decoded.shape[1:]
        images.append(decoded)
    return np.concatenate(images), np.concatenate(labels)


def _table(name: str, content: Content, columns: Columns) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(content) if isinstance(content, bytes) else content) as file:
            present = file.schema_arrow.names
            for field, column in (("image", columns.image), ("label", columns.label)):
                if column not in present:
                    raise DataError(
                        f"{name}: no column {column!r}; it has {', '.join(map(repr, present))}: "
                        f"set spec.data.columns.{field}"
                    )
            return file.read(columns=[columns.image, columns.label])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: not a readable parquet file: {error}") from error


def _labels(column: pa.ChunkedArray, place: str) -> Labels:
    import pyarrow as pa

    if not pa.types.is_integer(column.type) or column.null_count:
        what = "nulls" if column.null_count else str(column.type)
        raise DataError(f"{place}: has {what}; labels must be integers 0, 1, 2, ...")
    labels: Labels = column.to_numpy().astype(np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() <= MAX_LABEL:
        raise DataError(
            f"{place}: holds labels {labels.min()} to {labels.max()}; "
            f"they must be within 0..{MAX_LABEL}"
        )
    return labels
