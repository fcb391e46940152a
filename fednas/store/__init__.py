"""Where a search keeps what it knows: named bytes in a folder or in S3, and the journal on top."""

from fednas.store._folder import FolderStore
from fednas.store._journal import Journal, Record, canonical_json
from fednas.store._store import Blobs, Entry, Layout, Store, digest_of

__all__ = [
    "Blobs",
    "Entry",
    "FolderStore",
    "Journal",
    "Layout",
    "Record",
    "Store",
    "canonical_json",
    "digest_of",
]
