"""``spec.data.source`` -> `Dataset`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from fednas.data._class_folders import load_class_folders
from fednas.data._dataset import Dataset
from fednas.data._digits import DIGITS, digits_bytes, load_digits
from fednas.data._files import is_hidden, split_files
from fednas.data._parquet import load_parquet
from fednas.errors import DataError
from fednas.spec import Columns

__all__ = ["folder_files", "load_dataset", "load_files", "source_digest"]


def load_dataset(
    source: str | Path, columns: Columns | None = None, *, by: str | None = None
) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    source : str or path
        ``digits``, or a folder with ``train*.parquet`` and optionally ``test*.parquet`` (in it,
        or in folders below), or with images in ``train/<class>/`` and optionally
        ``test/<class>/``. A data set in S3 is fetched first and given to `load_files`.
    columns : Columns, optional
        Default: ``img`` and ``label``.
    by : str, optional
        Name of the column whose values are dealt to clients.

    Raises
    ------
    DataError
        Names the path, file, column or row, and what would be right.
    """
    if str(source) == DIGITS:
        if by is not None:
            raise _no_column(by, "the built-in digits")
        return load_digits()
    return load_files(folder_files(Path(source)), columns, by=by, where=str(source))


def load_files(
    files: Mapping[str, bytes | Path],
    columns: Columns | None = None,
    *,
    by: str | None = None,
    where: str = "data set",
) -> Dataset:
    """Decode the files of a data set, whichever layout it has.

    Parameters
    ----------
    files : mapping of name to bytes or path
        Relative names; `split_files` says which of them are read, and as what.
    columns, by :
        As for `load_dataset`.
    where : str
        What messages call the data set.

    Raises
    ------
    DataError
        Names the file, and what would be right.
    """
    splits = split_files(files, where)
    if not splits.images:
        return load_parquet(files, columns or Columns(), by=by, where=where)
    if by is not None:
        raise _no_column(by, f"{where}: a folder of images")
    return load_class_folders(files, splits.train, splits.test, where)


def source_digest(source: str | Path | Mapping[str, bytes]) -> str:
    """A sha256 over the files of a source: the same for a folder and for its copy in S3.

    Names count, as they say the order of the files, and as what was read is told by them.

    Parameters
    ----------
    source : str, path, or mapping of name to bytes
        What `load_dataset` or `load_files` takes.
    """
    total = hashlib.sha256()
    if not isinstance(source, Mapping) and str(source) == DIGITS:
        total.update(digits_bytes())
        return total.hexdigest()
    files: Mapping[str, bytes | Path]
    files = source if isinstance(source, Mapping) else folder_files(Path(source))
    splits = split_files(files, "data set" if isinstance(source, Mapping) else str(source))
    for split, names in (("train", splits.train), ("test", splits.test)):
        total.update(f"{split} {len(names)}\n".encode())
        for name in names:
            total.update(f"{_digest(files[name])} {name}\n".encode())
    return total.hexdigest()


def folder_files(folder: Path) -> dict[str, Path]:
    """The files of a data set in a folder, by their relative names.

    Raises
    ------
    DataError
        When the folder or one of the files is not there or cannot be read, or by `split_files`.
    """
    try:
        names = dict(_walk(folder))
    except NotADirectoryError:
        raise DataError(f"{folder}: is a file; spec.data.source must name its folder") from None
    except (OSError, ValueError) as error:
        what = "no such folder" if isinstance(error, FileNotFoundError) else _words(error)
        raise DataError(
            f"{folder}: {what}; spec.data.source must be {DIGITS!r}, a folder of "
            "train*.parquet and test*.parquet files or of images in train/<class>/ and "
            "test/<class>/, or s3://bucket/prefix"
        ) from None
    files = {name: names[name] for name in split_files(names, str(folder)).names}
    for name, path in files.items():
        _check_readable(name, path)
    return files


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative name and path of all that is not hidden; an empty folder's name ends in ``/``.

    Links to folders are followed, but for those to a folder that they lie in.
    """
    pending: list[tuple[str, Path, frozenset[str]]] = [("", folder, frozenset())]
    while pending:
        prefix, here, above = pending.pop()
        real = os.path.realpath(here)
        if real in above:
            continue
        try:
            entries = [entry for entry in sorted(os.listdir(here)) if not is_hidden(entry)]
        except OSError:
            if here is folder:
                raise
            entries = []  # lost+found and the like; what should be a split is named as empty
        if prefix and not entries:
            yield prefix, here
        for entry in entries:
            path = here / entry
            # A name that is no Unicode could neither be shown nor kept in a manifest.
            name = prefix + os.fsencode(entry).decode("utf-8", "backslashreplace")
            if os.path.isdir(path):
                pending.append((f"{name}/", path, above | {real}))
            else:
                yield name, path


def _check_readable(name: str, path: Path) -> None:
    try:
        if not path.exists() and path.is_symlink():
            raise DataError(f"{name}: is a link to {os.readlink(path)}, which is not there")
        if not path.is_file():
            raise DataError(f"{name}: is no regular file")  # opening a pipe would wait for ever
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {_words(error)}") from None


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_column(name: str, what: str) -> DataError:
    return DataError(
        f"spec.data.partition.column.name: got {name!r}, and {what} has no columns; "
        "parquet files have"
    )


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
