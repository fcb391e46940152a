"""A data set cut into the blobs that tasks read: a shard per client, validation, test.

Which sample goes where is drawn from the seed of the search, so that the same spec and data give
the same blobs, whoever makes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fednas.data._dataset import Dataset
from fednas.data._partition import MIN_SAMPLES, partition
from fednas.data._rows import encode_rows
from fednas.errors import DataError
from fednas.seeds import derive_seed
from fednas.spec import FederatedSearch, clients

__all__ = ["CALIBRATION_SAMPLES", "Shard", "Shards", "make_shards", "shards_key"]

VERSION: Literal[1] = 1

CALIBRATION_SAMPLES = 256
"""At most this many validation samples recompute the BatchNorm statistics."""


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
        sha256 over all of the above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = VERSION
    input: tuple[int, int, int]
    classes: int
    clients: dict[str, Shard]
    validation: Shard
    calibration: Shard
    test: Shard | None
    digest: str


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
        dataset.labels[train],
        len(names),
        alpha=None if data.partition.dirichlet is None else data.partition.dirichlet.alpha,
        seed=derive_seed(seed, "partition"),
    )
    fixed = np.random.default_rng(derive_seed(seed, "calibration")).permutation(validation)

    def store(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Shard:
        return Shard(shard=put(encode_rows(images, labels)), samples=len(images))

    def stored(indices: NDArray[np.int64]) -> Shard:
        return store(dataset.images[indices], dataset.labels[indices])

    shards = Shards(
        input=dataset.shape,
        classes=dataset.classes,
        clients={name: stored(train[part]) for name, part in zip(names, parts, strict=True)},
        validation=stored(validation),
        calibration=stored(np.sort(fixed[:CALIBRATION_SAMPLES])),
        test=store(dataset.test_images, dataset.test_labels) if len(dataset.test_images) else None,
        digest="",
    )
    return shards.model_copy(update={"digest": _digest(shards.model_dump(mode="json"))})


def shards_key(search: FederatedSearch, source_digest: str) -> str:
    """The name, under ``data/``, of the manifest of a search's shards.

    Two searches share it if the same data, read by the same columns, goes to the same clients.
    """
    data = search.spec.data.model_dump(mode="json", exclude={"source"}, exclude_none=True)
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


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
