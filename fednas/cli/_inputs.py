"""What a coordinator reads from outside: the data set and the start weights, from S3 or a path.

What is not there may still be pushed, so its absence is `NotFound`, which is waited out; only what
cannot be read is a `DataError`, which ends a search. A data set under way is told from one that is
all there by two looks at it: by its owner's word it would be better, but there is none in S3.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pydantic import ValidationError

from fednas.data import (
    Shards,
    load_files,
    make_shards,
    shards_key,
    source_digest,
    split_files,
)
from fednas.errors import DataError, NotFound
from fednas.local import local_shards, local_table, local_weights
from fednas.search import Inputs, StartFile, read_start
from fednas.spec import FederatedSearch, identity_digest, parse_s3
from fednas.store import Blobs, Layout, MinioConfig, MinioStore, Store, canonical_json

__all__ = ["bucket_files", "bucket_inputs", "whole_files"]

SETTLED_SECONDS = 15.0
"""For which a data set that comes late stays the same before it is read."""

_FETCHES = 8
"""Objects that are fetched at once: a folder of images has thousands of small ones."""


def bucket_inputs(
    search: FederatedSearch,
    config: MinioConfig,
    store: Store,
    layout: Layout,
    search_id: str,
    awaited: set[str] | None = None,
) -> Inputs:
    """Of a search whose store is a bucket; other buckets are read with the same credentials.

    Parameters
    ----------
    awaited : set of str
        Data sets that were not there at an earlier try, to be kept for the next.
    """
    known = f"{layout.data}search-{search_id}-{identity_digest(search)[:16]}.json"

    def shards() -> Shards:
        made = _manifest(store, known)
        if made is not None:
            return made
        if search.spec.data.source.startswith("s3://"):
            made = _bucket_shards(search, config, store, layout, awaited)
        else:
            made = local_shards(search, store, layout)
        store.put(known, _json(made))
        return made

    def read(uri: str) -> bytes:
        source, key = _open(uri, config)
        return source.get(key)

    def weights() -> StartFile:
        path = search.spec.model.initial.weights
        if path is None or not path.startswith("s3://"):
            return local_weights(search)
        try:
            return read_start(path, read(path), read)
        except NotFound:
            raise NotFound(
                f"spec.model.initial.weights: {path}: no such object yet; fednas push FILE {path}"
            ) from None

    def table(field: str, path: str) -> bytes:
        if not path.startswith("s3://"):
            return local_table(field, path)
        try:
            return read(path)
        except NotFound:
            raise NotFound(
                f"{field}: {path}: no such object yet; fednas push FILE {path}"
            ) from None

    return Inputs(shards=shards, weights=weights, table=table)


def _bucket_shards(
    search: FederatedSearch,
    config: MinioConfig,
    store: Store,
    layout: Layout,
    awaited: set[str] | None,
) -> Shards:
    """The shards of a data set in S3, made once for all searches that cut it the same way."""
    uri = search.spec.data.source
    source, prefix = _open(uri, config)
    files = whole_files(source, prefix, uri, set() if awaited is None else awaited)
    manifest = layout.data + shards_key(search, source_digest(files))
    known = _manifest(store, manifest)
    if known is not None:
        return known
    data = search.spec.data
    dataset = load_files(files, data.columns, by=data.value_column, where=uri)
    made = make_shards(search, dataset, Blobs(store, layout.data).put)
    store.put(manifest, _json(made))
    return made


def whole_files(
    source: Store,
    prefix: str,
    uri: str,
    awaited: set[str],
    pause: Callable[[], None] = lambda: time.sleep(SETTLED_SECONDS),
) -> dict[str, bytes]:
    """As `bucket_files`, once the data set is all there.

    Parameters
    ----------
    awaited : set of str
        Gets the URI where nothing is there. What appears under such a URI is read only when two
        looks, a pause apart, find the same; so is what makes no sense before it is refused.
    pause : callable
        Waits between the two looks.

    Raises
    ------
    NotFound
        Nothing is there yet, or it is still being written.
    DataError
        What is there makes no data set.
    """
    before = _look(source, prefix)
    if not before:
        awaited.add(uri)
        raise NotFound(f"spec.data.source: {uri}: nothing is there yet; fednas push FOLDER {uri}")
    refused: DataError | None = None
    try:
        if uri not in awaited:
            return bucket_files(source, prefix, uri)
    except DataError as error:
        refused = error
    pause()
    if _look(source, prefix) != before:
        awaited.add(uri)
        raise NotFound(f"spec.data.source: {uri}: is still being written")
    if refused is not None:
        raise refused
    return bucket_files(source, prefix, uri)


def _look(source: Store, prefix: str) -> list[tuple[str, int, float]]:
    below = f"{prefix}/" if prefix else ""
    return [(e.key, e.size, e.modified) for e in source.list(below) if e.key != below]


def bucket_files(source: Store, prefix: str, uri: str) -> dict[str, bytes]:
    """The files of a data set in S3 by their names below the prefix: as of a folder.

    Raises
    ------
    DataError
        By `split_files`.
    """
    below = f"{prefix}/" if prefix else ""
    names = [key.removeprefix(below) for key, _, _ in _look(source, prefix)]
    chosen = split_files(names, uri).names
    with ThreadPoolExecutor(_FETCHES) as pool:
        return dict(
            zip(chosen, pool.map(lambda name: source.get(below + name), chosen), strict=True)
        )


def _manifest(store: Store, key: str) -> Shards | None:
    """Shards made before; None if there are none, or of an earlier version of fednas."""
    try:
        return Shards.model_validate_json(store.get(key))
    except (NotFound, ValidationError):
        return None


def _open(uri: str, config: MinioConfig) -> tuple[MinioStore, str]:
    """The bucket that a URI lies in, and the key."""
    bucket, key = parse_s3(uri)
    return replace(config, bucket=bucket, prefix="").open(), key.removesuffix("/")


def _json(shards: Shards) -> bytes:
    return canonical_json(shards.model_dump(mode="json"))
