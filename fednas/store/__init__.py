"""Where a search keeps what it knows: named bytes in a folder or in S3, and the journal on top."""

from typing import TYPE_CHECKING, Any

from fednas.store._folder import FolderStore
from fednas.store._journal import Journal, Record, canonical_json
from fednas.store._store import Blobs, Entry, Layout, Store, digest_of

if TYPE_CHECKING:
    from fednas.store._minio import MinioConfig, MinioStore, PresignedPost, open_bucket

__all__ = [
    "Blobs",
    "Entry",
    "FolderStore",
    "Journal",
    "Layout",
    "MinioConfig",
    "MinioStore",
    "PresignedPost",
    "Record",
    "Store",
    "canonical_json",
    "digest_of",
    "open_bucket",
]


def __getattr__(name: str) -> Any:
    """S3 on first use: who works in a folder needs no minio-py."""
    if name in ("MinioConfig", "MinioStore", "PresignedPost", "open_bucket"):
        from fednas.store import _minio

        return getattr(_minio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
