"""What a search reads on this machine: its data, its start weights, its tables of latencies.

Every error begins with the field of the spec that names what cannot be read.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from fednas.data import Shards, load_dataset, make_shards, shards_key, source_digest
from fednas.errors import BadInput, DataError, NotFound
from fednas.models import Architecture, starting_network
from fednas.search import StartFile, read_start, rung_number
from fednas.spec import FederatedSearch, parse_s3
from fednas.store import Blobs, Layout, Store, canonical_json, open_bucket

__all__ = ["local_network", "local_shards", "local_table", "local_weights", "start_network"]


def _local_source(search: FederatedSearch, data: str | os.PathLike[str] | None = None) -> str:
    """Where the data of a search lie on this machine; ``data`` in place of what the spec says."""
    source = os.fspath(data) if data is not None else search.spec.data.source
    if source.startswith("s3://"):
        raise BadInput(
            f"spec.data.source: got {source}, which lies in a cluster's store; "
            "give a local copy with --data FOLDER"
        )
    return source


def local_shards(
    search: FederatedSearch,
    store: Store,
    layout: Layout,
    data: str | os.PathLike[str] | None = None,
) -> Shards:
    """The shards of a search over a local data set, made once."""
    source = _local_source(search, data)
    key = layout.data + shards_key(search, source_digest(source))
    blobs = Blobs(store, layout.data)
    try:
        shards = Shards.model_validate_json(store.get(key))
    except (NotFound, ValidationError):
        pass
    else:
        if _all_there(shards, store, layout):
            return shards
    dataset = load_dataset(source, search.spec.data.columns, by=search.spec.data.value_column)
    shards = make_shards(search, dataset, blobs.put)
    store.put(key, canonical_json(shards.model_dump(mode="json")), durable=True)
    return shards


def local_network(
    search: FederatedSearch, data: str | os.PathLike[str] | None = None
) -> Architecture:
    """The starting network of a search, for the images and labels of a local data set."""
    dataset = load_dataset(_local_source(search, data), search.spec.data.columns)
    return start_network(search, dataset.shape, dataset.classes)


def start_network(
    search: FederatedSearch, shape: tuple[int, int, int], classes: int
) -> Architecture:
    """The network that a search starts from, for images [C, H, W] and so many classes.

    Start weights are read only where they are a rung by their name: the others fill the network
    that the spec names.
    """
    network = starting_network(search.spec, shape, classes)
    path = search.spec.model.initial.weights
    if path is None or rung_number(path) is None:
        return network
    return local_weights(search).network(network)


def _all_there(shards: Shards, store: Store, layout: Layout) -> bool:
    there = {entry.key for entry in store.list(layout.data)}
    blobs = Blobs(store, layout.data)
    needed = [*shards.clients.values(), shards.validation, shards.calibration]
    needed += [shards.test] if shards.test is not None else []
    return all(blobs.key(part.shard) in there for part in needed)


def local_weights(search: FederatedSearch) -> StartFile:
    """The file of ``model.initial.weights``: local, or in a bucket that the environment opens."""
    path = search.spec.model.initial.weights
    assert path is not None
    if path.startswith("s3://"):
        return _bucket_weights(path)
    try:
        blob = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"spec.model.initial.weights: {path}: {error.strerror}; must be a safetensors file of "
            "trained weights"
        ) from None
    return read_start(path, blob, lambda beside: Path(beside).read_bytes())


def _bucket_weights(path: str) -> StartFile:
    """Start weights from a bucket, with credentials and endpoint from the environment."""
    try:
        store = open_bucket(parse_s3(path)[0])
    except BadInput as error:
        raise DataError(
            f"spec.model.initial.weights: got {path}, which lies in a cluster's store; give a "
            f"local copy with --set model.initial.weights=FILE, or what opens the bucket: {error}"
        ) from None

    def read(uri: str) -> bytes:
        return store.get(parse_s3(uri)[1])

    try:
        return read_start(path, read(path), read)
    except NotFound:
        raise DataError(f"spec.model.initial.weights: {path}: no such object") from None


def local_table(field: str, path: str) -> bytes:
    """The bytes of a class's ``latencyTable``; errors begin with the field."""
    if path.startswith("s3://"):
        raise BadInput(
            f"{field}: got {path}, which lies in a cluster's store; give a local copy with "
            "--set deviceClasses.NAME.latencyTable=FILE"
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{field}: {path}: {error.strerror}; must be a table that fednas measure-latency wrote"
        ) from None
