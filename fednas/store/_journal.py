"""The journal: create-once records of decisions, the truth of a search.

Records are keyed by what they decide - ``003/pre/block5.pointwise/01-closed`` - and never by a
sequence number, since candidates run in parallel. Writing a record that exists with equal contents
is a no-op, so a search that is replayed simply writes everything again; with other contents it is
`Diverged`, and nothing is written. The time of a record is when its object was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fednas.errors import Corrupt, Diverged, StoreError
from fednas.store._store import Store

__all__ = ["Journal", "Record", "canonical_json"]

VERSION = 1
_SUFFIX = ".json"


def canonical_json(value: Any) -> bytes:
    """Equal values give equal bytes: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


class _Fields(dict[str, Any]):
    """A record's contents; a field that it lacks is the store's fault, not the reader's."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        super().__init__(fields)
        self.where = where

    def __missing__(self, field: str) -> Any:
        raise Corrupt(f"{self.where}: is no journal record: has no {field!r}")


@dataclass(frozen=True)
class Record:
    """One decision: its key, its contents, and seconds since the epoch when it was written."""

    key: str
    value: Mapping[str, Any]
    time: float


class Journal:
    """Records under ``prefix`` of a store; `records` holds those read or written so far.

    Parameters
    ----------
    store : Store
    prefix : str
        Ends with ``/``.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix
        self.records: dict[str, Record] = {}

    def refresh(self) -> list[Record]:
        """Read the records that are new since the last call, in order of time."""
        new = []
        for entry in self.store.list(self.prefix):
            key = entry.key[len(self.prefix) :].removesuffix(_SUFFIX)
            if key not in self.records and entry.key.endswith(_SUFFIX):
                new.append(self._parse(key, self.store.get(entry.key), entry.modified))
        new.sort(key=lambda record: (record.time, record.key))
        self.records |= {record.key: record for record in new}
        return new

    def record(self, key: str, value: Mapping[str, Any]) -> Record:
        """Write a record, once.

        Raises
        ------
        Diverged
            A record of that key exists with other contents.
        """
        name = self.prefix + key + _SUFFIX
        data = canonical_json({"version": VERSION, **value})
        known = self.records.get(key)
        if known is not None:
            if canonical_json(known.value) != data:
                raise self._diverged(name, canonical_json(known.value), data)
            return known
        if not self.store.create(name, data):
            existing = self.store.get(name)
            if existing != data:
                raise self._diverged(name, existing, data)
        entry = next(iter(self.store.list(name)))
        written = self._parse(key, data, entry.modified)
        self.records[key] = written
        return written

    def _diverged(self, name: str, existing: bytes, data: bytes) -> Diverged:
        return Diverged(
            f"{self.store.uri(name)} says {existing[:200]!r}, this run would write {data[:200]!r}; "
            "another coordinator of this search, or other software, wrote it"
        )

    def _parse(self, key: str, data: bytes, time: float) -> Record:
        where = self.store.uri(self.prefix + key + _SUFFIX)
        try:
            value = json.loads(data)
            version = int(value["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{where}: is no journal record") from error
        if version > VERSION:
            raise StoreError(f"{where}: has version {version}; this fednas reads up to {VERSION}")
        return Record(key, _Fields(value, where), time)
