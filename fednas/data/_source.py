"""``spec.data.source`` -> `Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fednas.data._dataset import Dataset
from fednas.data._digits import digits_bytes, load_digits
from fednas.data._parquet import load_parquet, splits
from fednas.errors import DataError
from fednas.spec import Columns

__all__ = ["DIGITS", "load_dataset", "source_digest"]

DIGITS = "digits"
"""The source that is built in."""


def load_dataset(source: str | Path, columns: Columns | None = None) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    source : str or path
        ``digits``, or a folder with ``train*.parquet`` and optionally ``test*.parquet`` (in it,
        or in folders below). A data set in S3 is fetched first and given to `load_parquet`.
    columns : Columns, optional
        Default: ``img`` and ``label``.

    Raises
    ------
    DataError
        Names the path, file, column or row, and what would be right.
    """
    if str(source) == DIGITS:
        return load_digits()
    return load_parquet(_files(Path(source)), columns or Columns(), where=str(source))


def source_digest(source: str | Path | Mapping[str, bytes]) -> str:
    """A sha256 over the contents of a source: the same for a folder and for its copy in S3.

    Parameters
    ----------
    source : str, path, or mapping of name to bytes
        What `load_dataset` or `load_parquet` takes.
    """
    total = hashlib.sha256()
    if not isinstance(source, Mapping) and str(source) == DIGITS:
        total.update(digits_bytes())
        return total.hexdigest()
    files = source if isinstance(source, Mapping) else _files(Path(source))
    for names in splits(files, "data set" if isinstance(source, Mapping) else str(source)):
        total.update(b"split\n")
        for name in names:
            content = files[name]
            content = content if isinstance(content, bytes) else content.read_bytes()
            total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; spec.data.source must be {DIGITS!r}, a folder of "
            "train*.parquet and test*.parquet files, or s3://bucket/prefix"
        )
    found = sorted(folder.glob("*.parquet")) or sorted(folder.rglob("*.parquet"))
    return {path.relative_to(folder).as_posix(): path for path in found}
