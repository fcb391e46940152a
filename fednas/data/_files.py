"""Which files are the train and the test split: one rule over names, for folders and buckets.

A file belongs to a split by its own name (``train*.parquet``), or else by the folder that it lies
in (``train/0000.parquet`` as Hugging Face converts, ``train.parquet/part-0.parquet`` as Spark
writes). A split is one file, or files of one folder that are named alike but for their numbers.
Anything else is a guess between two data sets, so it is refused. Where no parquet file is of a
split, images in ``train/<class>/`` and ``test/<class>/`` are. As in Hadoop and Spark, what starts
with a dot or an underscore is hidden: ``_SUCCESS``, ``_temporary/``, ``.git/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from fednas.data._class_folders import check_class_folders, class_files
from fednas.errors import DataError

__all__ = ["Splits", "is_hidden", "split_files"]

SUFFIX = ".parquet"
SPLITS = ("train", "test")
NAMED = 4
"""At most this many files are named in a message."""

COUNTED = re.compile(r"-(\d+)-of-(\d+)(?=[-.])")
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
FINGERPRINT = re.compile(rf"{UUID}|(?<![0-9a-zA-Z])[0-9a-f]{{16,}}(?![0-9a-zA-Z])")
"""What writers put into a name to make it unique: it says nothing of which set a file is of."""


@dataclass(frozen=True)
class Splits:
    """The names of the files of each split, in the order in which they are read.

    Parameters
    ----------
    train, test : tuple of str
    images : bool, default False
        Whether they are images in one folder a class; else they are parquet files.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    images: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.train + self.test


def is_hidden(part: str) -> bool:
    """Whether a file or folder of that name is passed over."""
    return part.startswith((".", "_"))


def split_files(names: Iterable[str], where: str) -> Splits:
    """Choose the files of a data set by their names.

    Parameters
    ----------
    names : iterable of str
        Everything below the folder or prefix, relative to it, with ``/`` between the parts; a
        folder without files is a name that ends in ``/``.
    where : str
        What messages call the folder or prefix.

    Raises
    ------
    DataError
        When there is no train file, when the files of a split are of several folders or of
        several naming schemes, when one of a numbered set is missing, or when images and classes
        do not match. Names the files.
    """
    names = sorted(names)
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        if (split := _split_of(name)) is not None:
            found[split].append(name)
    _check_folders(names, [*found["train"], *found["test"]], where)
    if not found["train"] and not found["test"]:
        shown = [name for name in names if not any(map(is_hidden, name.split("/")))]
        if class_files(shown, "train"):
            for split in SPLITS:
                check_class_folders(shown, split, where)
            train, test = (tuple(class_files(shown, split)) for split in SPLITS)
            return Splits(train, test, images=True)
    if not found["train"]:
        parquet_first = sorted(names, key=lambda name: not name.endswith(SUFFIX))
        raise DataError(
            f"{where}: no train*.parquet there (found: {', '.join(parquet_first[:8]) or 'nothing'})"
            "; spec.data.source must name a folder with train*.parquet and, for a test split, "
            "test*.parquet, or with images in train/<class>/ and test/<class>/"
        )
    for split, members in found.items():
        _check_one_set(split, members, where)
    return Splits(tuple(found["train"]), tuple(found["test"]))


def _split_of(name: str) -> str | None:
    *folders, file = name.split("/")
    if not file.endswith(SUFFIX) or any(map(is_hidden, [*folders, file])):
        return None
    for split in SPLITS:
        if file.startswith(split):
            return split
    for folder in reversed(folders):
        for split in SPLITS:
            if folder == split or _is_spark_folder(folder, split):
                return split
    return None


def _is_spark_folder(folder: str, split: str) -> bool:
    return folder.startswith(split) and folder.endswith(SUFFIX)


def _check_folders(names: list[str], chosen: list[str], where: str) -> None:
    """A folder called ``train.parquet`` without parquet files is no data set without train rows."""
    for name in names:
        folders = name.split("/")[:-1]
        for depth, folder in enumerate(folders, 1):
            path = "/".join(folders[:depth]) + "/"
            if not any(_is_spark_folder(folder, split) for split in SPLITS):
                continue
            if not any(other.startswith(path) for other in chosen):
                raise DataError(
                    f"{where}: {path[:-1]} is a folder in which no *.parquet file can be found; "
                    "put its part files there or remove it"
                )


def _check_one_set(split: str, members: list[str], where: str) -> None:
    one_set = "a split must be one file, or one set of files that differ in their numbers alone"
    for kind, of in (("folders", _folder), ("naming schemes", _scheme)):
        groups = {of(name): name for name in reversed(members)}
        if len(groups) > 1:
            raise DataError(
                f"{where}: the {split} files are of {len(groups)} {kind} "
                f"({_listed(sorted(groups.values()))}): {one_set}; move the others away"
            )
    counted = {
        name: match for name in members if (match := COUNTED.search(name, len(_folder(name))))
    }
    if counted:
        _check_complete(split, counted, where)


def _check_complete(split: str, counted: dict[str, re.Match[str]], where: str) -> None:
    """Every one of ``-00000-of-00003``, ``-00001-of-00003``, ... once."""
    held: dict[int, str] = {}
    totals = {int(match[2]): name for name, match in reversed(counted.items())}
    if len(totals) > 1:
        raise DataError(
            f"{where}: the {split} files are of {len(totals)} sets "
            f"({_listed(sorted(totals.values()))}): they differ in how many there are; "
            "move all but one set away"
        )
    (total,) = totals
    for name, match in counted.items():
        if int(match[1]) in held:
            raise DataError(
                f"{where}: {held[int(match[1])]} and {name} are the same part of the {split} "
                "split; move one away"
            )
        held[int(match[1])] = name
    first = 1 if total in held and 0 not in held else 0  # some writers count from one
    wanted = range(first, first + total)
    if beyond := [name for number, name in held.items() if number not in wanted]:
        raise DataError(f"{where}: {beyond[0]}: there is no such part of {total}; rename it")
    if len(held) < total:
        gaps = (number for number in wanted if number not in held)
        missing = [_numbered(*next(iter(counted.items())), gap) for gap in islice(gaps, NAMED)]
        raise DataError(
            f"{where}: {total - len(held)} of the {total} {split} files are missing: "
            f"{_listed(missing, total - len(held))}; all of a numbered set must be there"
        )


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _scheme(name: str) -> str:
    """A file's own name without what tells one member of a set from another."""
    return re.sub(r"\d+", "0", FINGERPRINT.sub("*", name.rpartition("/")[2]))


def _numbered(name: str, match: re.Match[str], number: int) -> str:
    """The name that another part of the same set has, but for a fingerprint."""
    rest = FINGERPRINT.sub("*", name[match.end() :])
    return f"{name[: match.start()]}-{number:0{len(match[1])}d}-of-{match[2]}{rest}"


def _listed(names: list[str], total: int | None = None) -> str:
    more = (total or len(names)) - len(names[:NAMED])
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
