"""A column of labels -> classes 0 .. k-1, whatever integers the labels are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fednas.data._columns import first_null, plain
from fednas.data._rows import MAX_LABEL
from fednas.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Labels", "decode_labels", "to_classes"]

Labels = NDArray[np.int64]

MAX_CLASSES = MAX_LABEL + 1


def decode_labels(column: pa.ChunkedArray, place: str) -> Labels:
    """A column of integers of any width -> int64 [n].

    Raises
    ------
    DataError
        Names the place and, where one row is at fault, the row.
    """
    import pyarrow as pa

    column = plain(column)
    if (row := first_null(column)) is not None:
        raise DataError(f"{place}: row {row} has a null; every row must have an integer label")
    if not pa.types.is_integer(column.type):
        raise DataError(f"{place}: has {column.type}; labels must be integers: 0, 1, 2, ...")
    # pyarrow's own way to numpy would import pandas, where there is one.
    values: NDArray[Any] = np.from_dlpack(column.combine_chunks())
    largest = np.iinfo(np.int64).max
    if len(values) and int(values.max()) > largest:  # only uint64 can hold more
        row = int(np.argmax(values > largest))
        raise DataError(f"{place}: row {row} has the label {values[row]}; the largest is {largest}")
    return values.astype(np.int64)


def to_classes(train: Labels, test: Labels, place: str) -> tuple[Labels, Labels, tuple[int, ...]]:
    """Number the labels that occur from 0 in ascending order.

    Returns
    -------
    train, test : int64 arrays
        In ``0 .. k - 1``; unchanged where the labels are exactly these.
    labels : tuple of int
        The label of each class.

    Raises
    ------
    DataError
        When the training rows hold fewer than two labels, or there are too many.
    """
    labels = np.unique(np.concatenate([train, test]))
    if len(trained := np.unique(train)) < 2:
        raise DataError(f"{place}: the train files hold only the label {trained[0]}; need two")
    if len(labels) > MAX_CLASSES:
        raise DataError(
            f"{place}: holds {len(labels)} different labels; there can be {MAX_CLASSES} classes"
        )
    numbered = [np.searchsorted(labels, part).astype(np.int64) for part in (train, test)]
    return numbered[0], numbered[1], tuple(labels.tolist())
