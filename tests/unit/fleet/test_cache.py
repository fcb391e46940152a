from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fednas.data import encode_rows
from fednas.errors import Corrupt
from fednas.fleet._cache import CachedSource, FileCache
from fednas.store import digest_of


def write(cache: FileCache, data: bytes, used: int = 0) -> str:
    digest = digest_of(data)
    cache.write(digest, [data[:1], data[1:]])
    os.utime(cache.path(digest), (used, used))
    return digest


def test_a_blob_is_kept_under_its_digest(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=100)
    digest = write(cache, b"weights")
    assert cache.has(digest)
    assert FileCache(tmp_path, limit=100).has(digest)
    assert CachedSource(tmp_path).blob(digest) == b"weights"
    assert not cache.has(digest_of(b"other"))


def test_bytes_of_another_digest_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=100)
    with pytest.raises(Corrupt, match="have digest"):
        cache.write(digest_of(b"weights"), [b"other"])
    with pytest.raises(Corrupt, match="more than 100 bytes"):
        cache.write(digest_of(b"weights"), [b"x" * 60, b"x" * 60])
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished"]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=100)
    first, second, third = (write(cache, bytes([n]) * 40, used=n) for n in (1, 2, 3))
    assert [cache.has(digest) for digest in (first, second, third)] == [False, True, True]


def test_what_a_task_needs_is_not_evicted(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=100)
    held = write(cache, b"a" * 60, used=1)
    with cache.held([held]):
        other = digest_of(b"b" * 60)
        cache.write(other, [b"b" * 60])
        assert cache.has(held)
        assert not cache.has(other)


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=100)
    digest = write(cache, b"weights")
    cache.path(digest).write_bytes(b"damaged")
    with pytest.raises(Corrupt):
        CachedSource(tmp_path).blob(digest)


def test_a_shard_is_mapped_not_read(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=1000)
    images, labels = np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 1, 2])
    rows = CachedSource(tmp_path).rows(write(cache, encode_rows(images, labels)))
    assert rows.shape == (3, 6)
    assert isinstance(rows, np.memmap)


def test_only_a_killed_program_leaves_a_mark(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=100)
    with pytest.raises(RuntimeError), cache.mark("a"):
        raise RuntimeError
    assert cache.unfinished() == []
    killed = cache.mark("b")
    killed.__enter__()
    again = FileCache(tmp_path, limit=100)
    assert again.unfinished() == ["b"]
    again.forget(["b"])
    assert again.unfinished() == []
