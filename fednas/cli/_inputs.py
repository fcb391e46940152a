"""What a coordinator reads from outside: the data set and the start weights, from S3 or a path."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from fednas.api import local_shards, local_weights
from fednas.data import Shards, load_parquet, make_shards, shards_key, source_digest
from fednas.errors import DataError, NotFound
from fednas.search import Inputs
from fednas.spec import FederatedSearch, identity_digest
from fednas.store import Blobs, Layout, MinioConfig, MinioStore, Store, canonical_json

__all__ = ["bucket_inputs"]


def bucket_inputs(
    search: FederatedSearch, config: MinioConfig, store: Store, layout: Layout, search_id: str
) -> Inputs:
    """Of a search whose store is a bucket; other buckets are read with the same credentials."""
    known = f"{layout.data}search-{search_id}-{identity_digest(search)[:16]}.json"

    def shards() -> Shards:
        try:
            return Shards.model_validate_json(store.get(known))
        except NotFound:
            pass
        if search.spec.data.source.startswith("s3://"):
            made = _bucket_shards(search, config, store, layout)
        else:
            made = local_shards(search, store, layout)
        store.put(known, _json(made))
        return made

    def weights() -> bytes:
        path = search.spec.model.initial.weights
        if path is None or not path.startswith("s3://"):
            return local_weights(search)
        source, key = _open(path, config)
        try:
            return source.get(key)
        except NotFound:
            raise DataError(
                f"spec.model.initial.weights: {path}: no such object; fednas push FILE {path}"
            ) from None

    return Inputs(shards=shards, weights=weights)


def _bucket_shards(
    search: FederatedSearch, config: MinioConfig, store: Store, layout: Layout
) -> Shards:
    """The shards of a data set in S3, made once for all searches that cut it the same way."""
    uri = search.spec.data.source
    source, prefix = _open(uri, config)
    prefix = f"{prefix}/" if prefix else ""
    keys = [entry.key for entry in source.list(prefix) if entry.key.endswith(".parquet")]
    if not keys:
        raise DataError(
            f"spec.data.source: {uri}: no parquet files there; fednas push FOLDER {uri}"
        )
    files = {key.removeprefix(prefix): source.get(key) for key in keys}
    manifest = layout.data + shards_key(search, source_digest(files))
    try:
        return Shards.model_validate_json(store.get(manifest))
    except NotFound:
        pass
    dataset = load_parquet(files, search.spec.data.columns, where=uri)
    made = make_shards(search, dataset, Blobs(store, layout.data).put)
    store.put(manifest, _json(made))
    return made


def _open(uri: str, config: MinioConfig) -> tuple[MinioStore, str]:
    """The bucket that a URI lies in, and the key."""
    parts = urlsplit(uri)
    return replace(config, bucket=parts.netloc, prefix="").open(), parts.path.strip("/")


def _json(shards: Shards) -> bytes:
    return canonical_json(shards.model_dump(mode="json"))
