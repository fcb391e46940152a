"""Parquet files in the Hugging Face image layout -> `Dataset`.

A row is an image and an integer label. The image is ``struct<bytes, path>`` (what the ``Image``
feature of Hugging Face ``datasets`` writes), plain encoded bytes, or nested lists of pixels.
pyarrow and pillow are imported when the first file is read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fednas.data._dataset import Dataset
from fednas.data._encoded import Channels, First, Images
from fednas.data._files import split_files
from fednas.data._images import decode_images
from fednas.data._labels import Labels, decode_labels, to_classes
from fednas.data._values import Values, decode_values, number_values
from fednas.errors import DataError
from fednas.spec import Columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["load_parquet"]

Content = bytes | Path

BATCH = 512
"""Rows that are read at once."""


def load_parquet(
    files: Mapping[str, Content],
    columns: Columns,
    *,
    by: str | None = None,
    where: str = "data set",
) -> Dataset:
    """Decode the files of a data set.

    Parameters
    ----------
    files : mapping of name to bytes or path
        Relative names; `split_files` says which of them are read.
    columns : Columns
        Names of the image and the label column.
    by : str, optional
        Name of the column whose values are dealt to clients; of the train files alone.
    where : str
        What messages call the data set.

    Returns
    -------
    Dataset
        RGB if any training image is in colour, else grey; test images follow the training images.

    Raises
    ------
    DataError
        Names the file and the column or row, and what would be right.
    """
    splits = split_files(files, where)
    try:
        train = _read_split(files, splits.train, columns, by=by)
        if not train:
            raise DataError(f"{where}: the train files hold no rows")
        channels: Channels = 3 if any(part.images.shape[1] == 3 for part in train) else 1
        like = next(part for part in train if part.images.shape[1] == channels)
        test = _read_split(files, splits.test, columns, like, channels)
        images = _joined(train, channels)
        test_images = _joined(test, channels) if test else images[:0]
    except MemoryError as error:
        raise DataError(f"{where}: its images do not fit into memory: {error}") from error
    labels, test_labels, present = to_classes(
        np.concatenate([part.labels for part in train]),
        np.concatenate([part.labels for part in test] or [np.empty(0, np.int64)]),
        f"{where}: column {columns.label!r}",
    )
    values = [part.values for part in train if part.values is not None]
    return Dataset(
        images,
        labels,
        test_images,
        test_labels,
        present,
        splits.names,
        values=number_values(values) if values else None,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """What one file with rows holds."""

    name: str
    images: Images
    listed: bool
    labels: Labels
    values: Values | None


def _read_split(
    files: Mapping[str, Content],
    names: Sequence[str],
    columns: Columns,
    like: _Part | None = None,
    channels: Channels | None = None,
    by: str | None = None,
) -> list[_Part]:
    """The files that hold rows; of the size of ``like``, and of its channels if these are given."""
    parts: list[_Part] = []
    listed = like if channels is not None else None
    for name in names:
        table = _table(name, files[name], _wanted(columns, by))
        if table is None:
            continue
        labels = decode_labels(table.column(columns.label), f"{name}: column {columns.label!r}")
        place = f"{name}: column {columns.image!r}"
        decoded = decode_images(table.column(columns.image), place, _first(like), channels)
        values = None
        if by is not None:
            values = decode_values(table.column(by), f"{name}: column {by!r}")
        part = _Part(name, decoded.images, decoded.listed, labels, values)
        height, width = part.images.shape[2:]
        if height != width:
            raise DataError(f"{place}: images are {height}x{width}; the networks take square ones")
        if part.listed:
            wanted = channels or (listed or part).images.shape[1]
            if part.images.shape[1] != wanted:
                assert listed is not None
                raise DataError(
                    f"{place}: row 0 has {part.images.shape[1]} channels and row 0 of "
                    f"{listed.name} has {wanted}; lists of pixels must have the channels of "
                    "those before"
                )
            listed = listed or part
        like = like or part
        parts.append(part)
    return parts


def _first(part: _Part | None) -> First | None:
    if part is None:
        return None
    height, width = part.images.shape[2:]
    return First(f"row 0 of {part.name}", (height, width))


def _joined(parts: list[_Part], channels: Channels) -> Images:
    """All images; grey ones as three equal channels where others are in colour."""
    alike = [
        part.images
        if part.images.shape[1] == channels
        else np.repeat(part.images, channels, axis=1)
        for part in parts
    ]
    return np.concatenate(alike)


def _wanted(columns: Columns, by: str | None) -> dict[str, str]:
    """Field of the spec -> the column that it names."""
    wanted = {
        "spec.data.columns.image": columns.image,
        "spec.data.columns.label": columns.label,
    }
    return wanted if by is None else {**wanted, "spec.data.partition.column.name": by}


def _table(name: str, content: Content, wanted: Mapping[str, str]) -> pa.Table | None:
    """These columns of a file; None if it has no rows, whatever its columns are then."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _opened(content) as stream, pq.ParquetFile(stream) as file:
            if file.metadata.num_rows == 0:
                return None
            _check_columns(name, file.schema_arrow.names, wanted)
            names = list(dict.fromkeys(wanted.values()))
            # Read at once, bytes inside of a struct may not be larger than 2 GiB.
            batches = file.iter_batches(batch_size=BATCH, columns=names)
            return pa.Table.from_batches(list(batches))
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        words = " ".join(f"{error}".split())
        raise DataError(f"{name}: not a readable parquet file: {words}") from error


def _opened(content: Content) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _check_columns(name: str, present: list[str], wanted: Mapping[str, str]) -> None:
    for field, column in wanted.items():
        if column not in present:
            raise DataError(
                f"{name}: no column {column!r}; it has {', '.join(map(repr, present))}: set {field}"
            )
        if present.count(column) > 1:
            raise DataError(
                f"{name}: has {present.count(column)} columns {column!r}; rename all but one, or "
                f"set {field} to another column"
            )
