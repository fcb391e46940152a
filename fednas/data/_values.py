"""The column that says whose a sample is -> numbers 0 .. k-1, over all files of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fednas.data._columns import first_null, plain
from fednas.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Values", "decode_values", "number_values"]


@dataclass(frozen=True, eq=False)
class Values:
    """The column of one file.

    Parameters
    ----------
    distinct : tuple of str
        Its values as text, each once.
    rows : int64 array [n]
        Index into ``distinct`` of each row.
    """

    distinct: tuple[str, ...]
    rows: NDArray[np.int64]


def decode_values(column: pa.ChunkedArray, place: str) -> Values:
    """A column of integers or text; 7 and ``"7"`` are the same value.

    Raises
    ------
    DataError
        Names the place and, where one row is at fault, the row.
    """
    import pyarrow as pa

    column = plain(column)
    if (row := first_null(column)) is not None:
        raise DataError(f"{place}: row {row} is null; every row must say whose it is")
    kind, types = column.type, pa.types
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if not text and not types.is_integer(kind):
        raise DataError(f"{place}: has {kind}; must be integers or text")
    if types.is_string_view(kind):
        column = column.cast(pa.large_string())
    encoded = column.combine_chunks().dictionary_encode()
    chunk = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    distinct = tuple(str(value) for value in chunk.dictionary.to_pylist())
    return Values(distinct, chunk.indices.to_numpy().astype(np.int64))


def number_values(parts: Sequence[Values]) -> NDArray[np.int64]:
    """Number the values of all files from 0; the same whatever file a value comes in first."""
    numbers = {value: n for n, value in enumerate(sorted({v for p in parts for v in p.distinct}))}
    return np.concatenate(
        [np.array([numbers[value] for value in p.distinct], np.int64)[p.rows] for p in parts]
    )
