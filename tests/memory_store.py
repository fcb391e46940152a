"""A store in memory: no disk, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from fednas.errors import NotFound
from fednas.store import StoredObject


class MemoryStore:
    """Objects in a dict; "time" is the number of the write."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._times: dict[str, float] = {}
        self._clock = count(1)

    def get(self, key: str) -> bytes:
        if key not in self.objects:
            raise NotFound(f"{self.uri(key)}: no such object")
        return self.objects[key]

    def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
        self.objects[key] = data
        self._times[key] = float(next(self._clock))

    def create(self, key: str, data: bytes) -> bool:
        if key in self.objects:
            return False
        self.put(key, data)
        return True

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        return iter(
            [
                StoredObject(key, len(self.objects[key]), self._times[key])
                for key in sorted(self.objects)
                if key.startswith(prefix) and key > after
            ]
        )

    def path(self, key: str) -> Path | None:
        return None

    def uri(self, key: str) -> str:
        return f"memory:{key}"
