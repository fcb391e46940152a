"""Named bytes: the only thing that a search needs of a folder or of S3.

Layout, under the root of a run folder (where ``<id>/`` is left out) or of a bucket::

    journal/<id>/   create-once records: the truth
    ladder/<id>/    the result; never deleted by the system
    work/<id>/      weight blobs by sha256, uploads; may go once the search has ended
    data/           shards by sha256, manifests; shared between searches
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fednas.errors import Corrupt, StoreError
from fednas.spec import key_problem

__all__ = ["Blobs", "Layout", "Store", "StoredObject", "check_key", "digest_of"]


@dataclass(frozen=True)
class StoredObject:
    """One object: its key, size in bytes, and seconds since the epoch when it was written."""

    key: str
    size: int
    modified: float


class Store(Protocol):
    """A flat space of named bytes.

    A key is made of parts with a ``/`` between each two; see `check_key`. Ours are of
    ``[A-Za-z0-9._-]``.
    """

    def get(self, key: str) -> bytes:
        """The bytes; `NotFound` where there are none."""

    def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Write or replace, atomically; ``durable`` survives a power cut."""

    def create(self, key: str, data: bytes) -> bool:
        """Write durably if there is no object of that name; False if there is one."""

    def delete(self, *keys: str) -> None:
        """Remove; no error if there is none."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Every object whose key starts with ``prefix`` and is above ``after``, in their order."""

    def path(self, key: str) -> Path | None:
        """Where the object lies as a local file, if it does."""

    def uri(self, key: str) -> str:
        """How a person would name the object."""


def check_key(key: str) -> None:
    """Refuse what is no key, before it is made a path or a URL.

    Raises
    ------
    StoreError
        A part is empty, ``.`` or ``..``, a slash is at either end, or it is no printable text.
    """
    if problem := key_problem(key):
        raise StoreError(f"key {key!r}: {problem}")


@dataclass(frozen=True)
class Layout:
    """Key prefixes of one search; ``search_id`` is None in a run folder."""

    search_id: str | None = None

    def _under(self, kind: str) -> str:
        return f"{kind}/{self.search_id}/" if self.search_id else f"{kind}/"

    @property
    def journal(self) -> str:
        return self._under("journal")

    @property
    def updates(self) -> str:
        return self.journal + "updates/"

    @property
    def tables(self) -> str:
        return self.journal + "tables/"

    @property
    def ladder(self) -> str:
        return self._under("ladder")

    @property
    def blobs(self) -> str:
        return self._under("work") + "blobs/"

    @property
    def uploads(self) -> str:
        return self._under("work") + "uploads/"

    @property
    def data(self) -> str:
        return "data/"


def digest_of(data: bytes) -> str:
    """The sha256 that names a blob, in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Blobs:
    """Content-addressed bytes under a prefix."""

    store: Store
    prefix: str

    def key(self, digest: str) -> str:
        return self.prefix + digest

    def put(self, data: bytes, *, durable: bool = False) -> str:
        digest = digest_of(data)
        self.store.put(self.key(digest), data, durable=durable)
        return digest

    def get(self, digest: str) -> bytes:
        data = self.store.get(self.key(digest))
        if digest_of(data) != digest:
            raise Corrupt(
                f"{self.store.uri(self.key(digest))}: its bytes are not what its name says"
            )
        return data

    def path(self, digest: str) -> Path | None:
        return self.store.path(self.key(digest))

    def check(self, digest: str) -> None:
        """`Corrupt` if the local file of a blob is not what its name says."""
        path = self.path(digest)
        if path is None:
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise Corrupt(
                f"{path}: its bytes are not what its name says; delete the file and run again"
            )

    def delete(self, *digests: str) -> None:
        self.store.delete(*map(self.key, digests))
