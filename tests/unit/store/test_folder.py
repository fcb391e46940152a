from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import Corrupt, NotFound, StoreError
from fednas.store import Blobs, FolderStore, digest_of
from tests.memory_store import MemoryStore

parts = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,5}", fullmatch=True)
actions = st.tuples(
    st.sampled_from(["put", "create", "delete"]),
    st.sampled_from(["a", "d/a", "d/b", "d/e/a"]),
    st.binary(max_size=4),
)


@given(st.lists(actions, max_size=20))
def test_a_folder_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, str, bytes]]
) -> None:
    folder, model = FolderStore(tmp_path_factory.mktemp("store")), MemoryStore()
    for action, key, data in script:
        for store in (folder, model):
            if action == "put":
                store.put(key, data)
            elif action == "delete":
                store.delete(key)
        if action == "create":
            assert folder.create(key, data) == model.create(key, data)
    for prefix in ("", "d/", "d/a"):
        listed = [(entry.key, entry.size) for entry in folder.list(prefix)]
        assert listed == [(entry.key, entry.size) for entry in model.list(prefix)]
    for key, data in model.objects.items():
        assert folder.get(key) == data


def test_of_many_creators_one_wins_and_its_bytes_stay(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    won: list[int] = []
    barrier = threading.Barrier(8)

    def creator(number: int) -> None:
        barrier.wait()
        if store.create("record", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=creator, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("record") == str(won[0]).encode()
    assert len(won) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_what_is_absent_is_not_found(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/b", b"")
    for key in ("x", "a", "a/b/c"):
        with pytest.raises(NotFound, match=key):
            store.get(key)
    assert store.path("x") is None
    assert list(store.list("nowhere/")) == []


def test_a_key_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"'\.\.' is not allowed"):
        FolderStore(tmp_path / "root").put("../out", b"")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_the_error_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FolderStore(tmp_path / "file")
    for write in (lambda: store.put("a", b""), lambda: store.create("a", b"")):
        with pytest.raises(StoreError, match=r"file.*cannot be written"):
            write()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="folder: cannot be written"):
        FolderStore(tmp_path).put("folder", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_half_written_file_is_no_object_and_is_swept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("d/whole", b"1")
    (tmp_path / "d" / ".partial-x").write_bytes(b"ha")
    assert [entry.key for entry in store.list("")] == ["d/whole"]
    store.sweep()
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["whole"]


@given(st.binary(max_size=64), st.data())
def test_a_blob_whose_bytes_changed_is_corrupt(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("store"))
    blobs = Blobs(store, "work/blobs/")
    digest = blobs.put(content)
    assert digest == digest_of(content)
    assert blobs.get(digest) == content
    blobs.check(digest)
    other = data.draw(st.binary(max_size=64).filter(lambda b: b != content))
    store.put(blobs.key(digest), other)
    for read in (blobs.get, blobs.check):
        with pytest.raises(Corrupt, match=digest):
            read(digest)


def test_a_folder_may_lie_above_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store = FolderStore(Path("../there"))
    store.put("a/b", b"x")
    assert (tmp_path / "there" / "a" / "b").read_bytes() == store.get("a/b") == b"x"
