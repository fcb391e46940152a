"""A client's file cache: blobs by digest, verified as they come, within a size limit.

It also keeps a mark of each task under way. A mark found at the start is of a task that this
program did not survive, most likely for want of memory; the coordinator is told.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fednas.data import Rows, open_rows
from fednas.errors import Corrupt, TaskFailed
from fednas.store import digest_of

__all__ = ["CachedSource", "FileCache"]


class FileCache:
    """Files named by sha256 in a folder. Thread-safe; for one program and its workers at a time.

    Parameters
    ----------
    folder : Path
        Made if missing.
    limit : int
        Bytes. What a task under way needs is kept even beyond it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._marks = folder / "unfinished"
        self._marks.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._in_use: Counter[str] = Counter()

    def sweep(self) -> None:
        """Remove what an earlier program had half written."""
        for left in self.folder.glob("*.partial"):
            left.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob lies, or would."""
        return self.folder / digest

    @contextmanager
    def held(self, digests: Iterable[str]) -> Iterator[None]:
        """Within the block these blobs are not evicted."""
        names = list(digests)
        with self._lock:
            self._in_use.update(names)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.subtract(names)
            self._evict()

    def has(self, digest: str) -> bool:
        """It lies here; it counts as used now."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def read(self, digest: str) -> bytes | None:
        """The bytes of a blob that lies here whole; else None."""
        try:
            data = self.path(digest).read_bytes()
        except OSError:
            return None
        return data if digest_of(data) == digest else None

    def write(self, digest: str, chunks: Iterable[bytes]) -> None:
        """Keep a blob whose bytes come in pieces.

        Raises
        ------
        Corrupt
            If the bytes have another digest, or are more than the cache may hold.
        """
        partial = self.folder / f"{digest}.{os.getpid()}-{threading.get_ident()}.partial"
        sha, size = hashlib.sha256(), 0
        try:
            with partial.open("wb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if size > self.limit:
                        raise Corrupt(f"blob {digest}: more than {self.limit} bytes")
                    sha.update(chunk)
                    file.write(chunk)
            if sha.hexdigest() != digest:
                raise Corrupt(f"blob {digest}: its bytes have digest {sha.hexdigest()}")
            partial.replace(self.path(digest))
        finally:
            partial.unlink(missing_ok=True)
        self._evict()

    def _evict(self) -> None:
        """Remove what was used longest ago until the rest fits."""
        with self._lock:
            files = []
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):  # another worker was faster
                    if path.is_file() and path.suffix != ".partial":
                        status = path.stat()
                        files.append((status.st_mtime_ns, status.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self.limit:
                    break
                if self._in_use[path.name] <= 0:
                    path.unlink(missing_ok=True)
                    total -= size

    # -- marks -----------------------------------------------------------------------------------

    @contextmanager
    def mark(self, lease: str) -> Iterator[None]:
        """Within the block a mark lies on the disk; only a killed program leaves it there."""
        path = self._marks / lease
        path.touch()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def unfinished(self) -> list[str]:
        """Leases whose marks an earlier program left."""
        return sorted(path.name for path in self._marks.iterdir())

    def forget(self, leases: Iterable[str]) -> None:
        """The coordinator knows of these."""
        for lease in leases:
            (self._marks / lease).unlink(missing_ok=True)


@dataclass(frozen=True)
class CachedSource:
    """Blobs of a task from the cache's folder. Picklable: workers read the files themselves."""

    folder: Path

    def blob(self, digest: str) -> bytes:
        """A weight blob, verified."""
        data = (self.folder / digest).read_bytes()
        if digest_of(data) != digest:
            raise Corrupt(f"{self.folder / digest}: its bytes are not what its name says")
        return data

    def rows(self, digest: str) -> Rows:
        """A shard, memory-mapped."""
        return open_rows(self.folder / digest)

    def upload(self, key: str) -> bytes:
        """Not a client's work."""
        raise TaskFailed(f"{key}: a client reads no uploads")
