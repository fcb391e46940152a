"""A store in a folder: atomic by rename, create-once by hard link, durable by fsync."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fednas.errors import NotFound, StoreError
from fednas.store._store import Entry

__all__ = ["FolderStore"]

_TEMPORARY = ".partial-"


@dataclass(frozen=True)
class FolderStore:
    """Objects as files under ``root``; safe for several processes at once."""

    root: Path

    def _path(self, key: str) -> Path:
        path = self.root / key
        if ".." in path.parts:
            raise StoreError(f"key {key!r}: '..' is not allowed in a key")
        return path

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"{self.uri(key)}: no such object") from None
        except OSError as error:
            raise StoreError(f"{self.uri(key)}: cannot be read: {error.strerror}") from error

    def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
        path = self._path(key)
        with _writing(path):
            temporary = self._write(path, data, durable)
            try:
                os.replace(temporary, path)
            except OSError:
                os.unlink(temporary)
                raise
            if durable:
                _sync_folder(path.parent)

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        if path.exists():
            return False
        with _writing(path):
            temporary = self._write(path, data, durable=True)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(temporary)
            _sync_folder(path.parent)
        return True

    def delete(self, key: str) -> None:
        with _writing(self._path(key)):
            self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed processes had half written; nobody else may be writing."""
        for path in self.root.rglob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[Entry]:
        folder = self._path(prefix.rpartition("/")[0])
        found = []
        for parent, _, names in os.walk(folder, onerror=_unreadable):
            for name in names:
                path = Path(parent) / name
                key = path.relative_to(self.root).as_posix()
                if name.startswith(_TEMPORARY) or not key.startswith(prefix):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:  # deleted meanwhile
                    continue
                found.append(Entry(key, status.st_size, status.st_mtime))
        return iter(sorted(found, key=lambda entry: entry.key))

    def path(self, key: str) -> Path | None:
        path = self._path(key)
        return path if path.is_file() else None

    def uri(self, key: str) -> str:
        return str(self.root / key)

    def _write(self, path: Path, data: bytes, durable: bool) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def _unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise StoreError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
