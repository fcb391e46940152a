"""A store in a folder: atomic by rename, create-once by hard link, durable by fsync."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fednas.errors import NotFound, StoreError
from fednas.store._store import StoredObject, check_key

__all__ = ["FolderStore"]

_TEMPORARY = ".partial-"
# What the system says where a key names nothing: no file, a folder, a file as a folder.
_NOTHING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True)
class FolderStore:
    """Objects as files under ``root``; safe for several processes at once."""

    root: Path

    def _path(self, key: str) -> Path:
        check_key(key)
        if f"/{_TEMPORARY}" in f"/{key}":
            raise StoreError(f"key {key!r}: {_TEMPORARY}... is kept for what is half written")
        return self.root / key

    def get(self, key: str) -> bytes:
        path = self._path(key)
        try:
            return path.read_bytes()
        except _NOTHING:
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
        with _writing(path):
            if path.exists():
                return False
            temporary = self._write(path, data, durable=True)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(temporary)
            _sync_folder(path.parent)
        return True

    def delete(self, *keys: str) -> None:
        for key in keys:
            path = self._path(key)
            with _writing(path), suppress(*_NOTHING):
                path.unlink()

    def sweep(self) -> None:
        """Remove what killed processes had half written; nobody else may be writing."""
        for parent, _, names in os.walk(self.root):
            for name in names:
                if name.startswith(_TEMPORARY):
                    path = Path(parent) / name
                    with _writing(path):
                        path.unlink(missing_ok=True)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        start = prefix.rpartition("/")[0]
        if "/" in prefix:
            check_key(start)
        found = []
        for parent, folders, names in os.walk(self.root / start, onerror=_unreadable):
            below = "" if parent == str(self.root) else f"{Path(parent).relative_to(self.root)}/"
            # Neither folders of other keys nor those whose every key sorts before are looked into.
            folders[:] = [
                name
                for name in folders
                if f"{below}{name}/".startswith(prefix)
                and (f"{below}{name}/" > after or after.startswith(f"{below}{name}/"))
            ]
            for name in names:
                key = below + name
                if name.startswith(_TEMPORARY) or not key.startswith(prefix) or key <= after:
                    continue
                try:
                    status = os.stat(os.path.join(parent, name))
                except FileNotFoundError:  # deleted meanwhile
                    continue
                found.append(StoredObject(key, status.st_size, status.st_mtime))
        return iter(sorted(found, key=lambda entry: entry.key))

    def path(self, key: str) -> Path | None:
        path = self._path(key)
        try:
            return path if path.is_file() else None
        except OSError as error:
            raise StoreError(f"{self.uri(key)}: cannot be read: {error.strerror}") from error

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
    if not isinstance(error, _NOTHING):
        raise StoreError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
