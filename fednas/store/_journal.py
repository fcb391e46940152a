"""The journal: create-once records of decisions, the truth of a search.

Records are keyed by what they decide - ``0003/pre/block5.pointwise/01-closed`` - and never by a
sequence number, since candidates run in parallel. Writing a record that exists with equal contents
is a no-op, so a search that is replayed simply writes everything again; with other contents it is
`Diverged`, and nothing is written. The time of a record is when its object was written.

The journal itself keeps no contents, only their keys: whoever reads records folds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fednas.errors import Corrupt, Diverged, StoreError
from fednas.store._store import Store, StoredObject

__all__ = ["Journal", "Record", "canonical_json"]

VERSION = 2
_SUFFIX = ".json"
_READERS = 8
"""Records read at a time: over S3 each takes a round trip."""


def canonical_json(value: Any) -> bytes:
    """Equal values give equal bytes: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True)
class Record:
    """One decision: its key, its contents, and seconds since the epoch when it was written."""

    key: str
    value: Mapping[str, Any]
    time: float


class Journal:
    """Records under ``prefix`` of a store; safe for threads that write different records.

    Parameters
    ----------
    store : Store
    prefix : str
        Ends with ``/``.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix
        self._known: set[str] = set()

    def __len__(self) -> int:
        """Records read or written so far."""
        return len(self._known)

    def uri(self, key: str) -> str:
        """Where a record lies, for people."""
        return self.store.uri(self.prefix + key + _SUFFIX)

    def refresh(self) -> list[Record]:
        """Read the records that are new since the last call, in order of their keys."""
        new = [
            (key, entry)
            for entry in self.store.list(self.prefix)
            if entry.key.endswith(_SUFFIX)
            and (key := entry.key[len(self.prefix) : -len(_SUFFIX)]) not in self._known
        ]
        if len(new) < _READERS:
            found = [self._read(item) for item in new]
        else:
            with ThreadPoolExecutor(_READERS) as readers:
                found = list(readers.map(self._read, new))
        self._known.update(record.key for record in found)  # all, or none where one failed
        return found

    def record(self, key: str, value: Mapping[str, Any]) -> Record:
        """Write a record, once.

        Raises
        ------
        Diverged
            A record of that key exists with other contents.
        """
        name = self.prefix + key + _SUFFIX
        data = canonical_json({"version": VERSION, **value})
        if key in self._known or not self.store.create(name, data):
            existing = self.store.get(name)
            if existing != data:
                raise Diverged(
                    f"{self.store.uri(name)} says {existing[:200]!r}, this run would write "
                    f"{data[:200]!r}; another coordinator of this search, or other software, "
                    "wrote it"
                )
        written = next(iter(self.store.list(name)))
        self._known.add(key)
        return self._parse(key, data, written.modified)

    def _read(self, item: tuple[str, StoredObject]) -> Record:
        key, entry = item
        data = self.store.get(entry.key)
        return self._parse(key, data, entry.modified)

    def _parse(self, key: str, data: bytes, time: float) -> Record:
        where = self.uri(key)
        try:
            value = json.loads(data)
            version = int(value.pop("version"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"{where}: is no journal record") from error
        if version != VERSION:
            raise StoreError(
                f"{where}: has version {version}; this fednas reads {VERSION}: go on with the "
                "fednas that began the search, or start a new one"
            )
        return Record(key, value, time)
