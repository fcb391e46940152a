"""A data set cut into the blobs that tasks read: a shard per client, validation, test.

Which sample goes where is drawn from the seed of the search, so that the same spec and data give
the same blobs, whoever makes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fednas.data._dataset import Dataset
from fednas.data._digits import DIGITS
from fednas.data._partition import MIN_SAMPLES, partition
from fednas.data._rows import encode_rows
from fednas.errors import DataError
from fednas.seeds import derive_seed
from fednas.spec import FederatedSearch, clients

__all__ = ["CALIBRATION_SAMPLES", "Shard", "Shards", "make_shards", "shards_key"]

VERSION: Literal[2] = 2

CALIBRATION_SAMPLES = 256
"""At most this many validation samples recompute the BatchNorm statistics."""

NAMED_FILES = 3
NAMED_LABELS = 6


class Shard(BaseModel):
    """One blob of rows: its sha256, and how many samples it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: str
    samples: int


class Shards(BaseModel):
    """All blobs of one partitioned data set.

    Parameters
    ----------
    input : (C, H, W)
        Shape of one image.
    classes : int
    clients : dict of client name to Shard
        What each client trains on.
    validation : Shard
        Drawn from the training split, held by no client; decides every ranking.
    calibration : Shard
        A fixed part of validation, for BatchNorm statistics.
    test : Shard or None
        The test split; only reported, never used to decide.
    digest : str
        sha256 over all of the above, and over the labels: over what is in the data and who holds
        it, not over the names of files.
    labels : tuple of int
        The label that each class has in the files, ascending.
    test_only : tuple of int
        Those of them that no training row has.
    majority : float
        Share of the most frequent class among the validation rows: the accuracy of a network
        that has learnt nothing but to name this class.
    files : tuple of str
        Relative names of the files read, or of the folders of images; ``digits`` for the built-in
        data set.
    names : tuple of str, default ()
        The name of each class, where classes have names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2] = VERSION
    input: tuple[int, int, int]
    classes: int
    clients: dict[str, Shard]
    validation: Shard
    calibration: Shard
    test: Shard | None
    digest: str
    labels: tuple[int, ...]
    test_only: tuple[int, ...]
    majority: float
    files: tuple[str, ...]
    names: tuple[str, ...] = ()

    def summary(self) -> str:
        """What was read, in one line for people."""
        train = self.validation.samples + sum(shard.samples for shard in self.clients.values())
        test = "no" if self.test is None else self.test.samples
        size = "x".join(map(str, self.input))
        return (
            f"data: {_named(self.files)}, {train} training and {test} test rows of {size}, "
            f"{self.classes} classes" + (f" ({_some(self.names)})" if self.names else "")
        )

    def warnings(self) -> tuple[str, ...]:
        """What is legal and may yet not be what was meant, a line each."""
        lines = []
        if not _are_numbered(self.labels):
            lines.append(
                f"data: the labels are {_some(self.labels)}; they became the classes "
                f"0..{self.classes - 1} in this order"
            )
        if self.test_only:
            what = "label" if len(self.test_only) == 1 else "labels"
            shown = [self.names[label] for label in self.test_only] if self.names else None
            lines.append(
                f"data: no training row has the {what} {_some(shown or self.test_only)} of the "
                "test rows: "
                "no client can learn what it never sees"
            )
        return tuple(lines)


def make_shards(search: FederatedSearch, dataset: Dataset, put: Callable[[bytes], str]) -> Shards:
    """Partition a data set over the clients of a search and store the pieces.

    Parameters
    ----------
    search : FederatedSearch
        Gives seed, clients, ``data.partition`` and ``data.evaluation``.
    dataset : Dataset
    put : callable
        Stores a blob and returns its sha256; called once a shard, in order of clients.

    Raises
    ------
    DataError
        When there are too few samples for the clients.
    """
    seed, data = search.spec.seed, search.spec.data
    assert data.evaluation.central is not None, "the only member of this union"
    fraction = data.evaluation.central.fraction
    train, validation = _hold_out(len(dataset.images), fraction, derive_seed(seed, "validation"))
    names = [client.name for client in clients(search)]
    parts = partition(
        data.partition,
        dataset.labels[train],
        len(names),
        seed=derive_seed(seed, "partition"),
        values=None if dataset.values is None else dataset.values[train],
    )
    fixed = np.random.default_rng(derive_seed(seed, "calibration")).permutation(validation)

    def store(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Shard:
        return Shard(shard=put(encode_rows(images, labels)), samples=len(images))

    def stored(indices: NDArray[np.int64]) -> Shard:
        return store(dataset.images[indices], dataset.labels[indices])

    validation_labels = dataset.labels[validation]
    seen = set(np.unique(dataset.labels).tolist())
    shards = Shards(
        input=dataset.shape,
        classes=dataset.classes,
        clients={name: stored(train[part]) for name, part in zip(names, parts, strict=True)},
        validation=stored(validation),
        calibration=stored(np.sort(fixed[:CALIBRATION_SAMPLES])),
        test=store(dataset.test_images, dataset.test_labels) if len(dataset.test_images) else None,
        digest="",
        labels=dataset.labels_present,
        test_only=tuple(
            label for number, label in enumerate(dataset.labels_present) if number not in seen
        ),
        majority=float(np.bincount(validation_labels).max() / len(validation_labels)),
        files=dataset.files,
        names=dataset.names,
    )
    return shards.model_copy(update={"digest": _content_digest(shards)})


def shards_key(search: FederatedSearch, source_digest: str) -> str:
    """The name, under ``data/``, of the manifest of a search's shards.

    Two searches share it if the same data, read by the same columns, goes to the same clients.
    """
    elsewhere = {"source", "augment", "normalize"}  # where it lies, and what is done in training
    data = search.spec.data.model_dump(mode="json", exclude=elsewhere, exclude_none=True)
    made_from = {
        "version": VERSION,
        "source": source_digest,
        "data": data,
        "seed": search.spec.seed,
        "clients": [client.name for client in clients(search)],
    }
    return f"shards-{_digest(made_from)}.json"


def _hold_out(
    samples: int, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the samples that clients may hold, and of those kept for validation."""
    held_out = max(MIN_SAMPLES, round(samples * fraction))
    if samples < held_out + MIN_SAMPLES:
        raise DataError(f"{samples} training samples are too few to hold any out for validation")
    order = np.random.default_rng(seed).permutation(samples).astype(np.int64)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _content_digest(shards: Shards) -> str:
    """Where the labels are the classes, what version 1 gave: searches begun under it go on."""
    told = {"files", "majority", "names", "test_only"}
    content = shards.model_dump(mode="json", exclude=told) | {"version": 1, "digest": ""}
    if _are_numbered(shards.labels):
        del content["labels"]
    return _digest(content)


def _are_numbered(labels: tuple[int, ...]) -> bool:
    return labels == tuple(range(len(labels)))


def _named(files: tuple[str, ...]) -> str:
    if files == (DIGITS,):
        return "the built-in digits"
    named = f" ({', '.join(files)})" if 0 < len(files) <= NAMED_FILES else ""
    what = "folder" if files and files[0].endswith("/") else "file"
    return f"{len(files)} {what}{'' if len(files) == 1 else 's'}{named}"


def _some(labels: Sequence[int | str]) -> str:
    if len(labels) <= NAMED_LABELS:
        return ", ".join(map(str, labels))
    return f"{', '.join(map(str, labels[: NAMED_LABELS - 1]))}, ..., {labels[-1]}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
