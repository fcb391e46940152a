"""Where a search keeps what it knows: named bytes in a folder or in S3, and the journal on top."""

from typing import TYPE_CHECKING, Any

from fednas.store._folder import FolderStore
from fednas.store._journal import Journal, Record, canonical_json
from fednas.store._store import Blobs, Layout, Store, StoredObject, check_key, digest_of

if TYPE_CHECKING:
    from fednas.store._bucket import MinioConfig, open_bucket
    from fednas.store._minio import MinioStore, PresignedPost

__all__ = [
    "Blobs",
    "FolderStore",
    "Journal",
    "Layout",
    "MinioConfig",
    "MinioStore",
    "PresignedPost",
    "Record",
    "Store",
    "StoredObject",
    "canonical_json",
    "check_key",
    "digest_of",
    "open_bucket",
]


def __getattr__(name: str) -> Any:
    """S3 on first use: who works in a folder needs no minio-py."""
    if name in ("MinioConfig", "open_bucket"):
        from fednas.store import _bucket

        return getattr(_bucket, name)
    if name in ("MinioStore", "PresignedPost"):
        from fednas.store import _minio

        return getattr(_minio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
