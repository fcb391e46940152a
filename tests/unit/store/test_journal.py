from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import Corrupt, Diverged, StoreError
from fednas.store import Journal, canonical_json
from tests.memory_store import MemoryStore

keys = st.sampled_from(["start", "0001/generated", "0001/pre/a.b/01-closed", "end"])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
values = st.dictionaries(
    st.text(max_size=4).filter(lambda name: name != "version"), json_values, max_size=4
)


@given(values)
def test_equal_values_give_equal_bytes_whatever_their_order(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(turned)
    assert json.loads(canonical_json(value)) == value


def test_nan_is_no_decision() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": float("nan")})


@given(st.lists(st.tuples(keys, values), max_size=12))
def test_the_first_record_of_a_key_stands_whoever_writes_and_rereads(
    script: list[tuple[str, dict[str, Any]]],
) -> None:
    store = MemoryStore()
    journal = Journal(store, "journal/")
    truth: dict[str, dict[str, Any]] = {}
    for key, value in script:
        fresh = Journal(store, "journal/")  # a second coordinator, which has read nothing yet
        for writer in (journal, fresh):
            if truth.setdefault(key, value) == value and canonical_json(
                truth[key]
            ) == canonical_json(value):
                assert writer.record(key, value).value == value
            else:
                with pytest.raises(Diverged, match=key):
                    writer.record(key, value)
    replayed = Journal(store, "journal/")
    assert {record.key: record.value for record in replayed.refresh()} == truth
    assert len(replayed) == len(truth)


def test_refresh_gives_new_records_once_in_the_order_of_keys() -> None:
    store = MemoryStore()
    writer, reader = Journal(store, "journal/7/"), Journal(store, "journal/7/")
    for key in ("b", "a", "c/d"):
        writer.record(key, {})
    store.put("journal/7/notes.txt", b"not a record")
    store.put("journal/8/a.json", b"another search's")
    assert [record.key for record in reader.refresh()] == ["a", "b", "c/d"]
    assert reader.refresh() == []
    writer.record("a2", {})
    assert [record.key for record in reader.refresh()] == ["a2"]


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"version":"x"}', b"\xff\xfe", b"\0" * 9],
)
def test_garbage_is_named_as_corrupt(garbage: bytes) -> None:
    store = MemoryStore()
    store.put("journal/001/rung.json", garbage)
    with pytest.raises(Corrupt, match=r"journal/001/rung\.json: is no journal record"):
        Journal(store, "journal/").refresh()


@pytest.mark.parametrize("version", [1, 3])
def test_a_record_of_another_version_is_refused_with_the_version(version: int) -> None:
    store = MemoryStore()
    store.put("journal/start.json", b'{"version":%d}' % version)
    with pytest.raises(StoreError, match=f"has version {version}; this fednas reads 2"):
        Journal(store, "journal/").refresh()


def test_many_records_are_read_at_once_and_none_is_lost() -> None:
    store = MemoryStore()
    writer = Journal(store, "journal/")
    for number in range(100):
        writer.record(f"{number:04}/rung", {"n": number})
    records = Journal(store, "journal/").refresh()
    assert [record.value["n"] for record in records] == list(range(100))


def test_garbage_under_a_key_diverges_and_stays() -> None:
    store = MemoryStore()
    store.put("journal/a.json", b"garbage")
    with pytest.raises(Diverged, match="another coordinator of this search"):
        Journal(store, "journal/").record("a", {"x": 1})
    assert store.get("journal/a.json") == b"garbage"


@pytest.mark.parametrize("count", [3, 30])
def test_a_look_that_fails_midway_loses_no_record(count: int) -> None:
    class Failing(MemoryStore):
        fails = True

        def get(self, key: str) -> bytes:
            if self.fails and key.endswith("2/rung.json"):
                raise StoreError("no answer")
            return super().get(key)

    store = Failing()
    writer, reader = Journal(store, "journal/"), Journal(store, "journal/")
    for number in range(count):
        writer.record(f"{number:04}/rung", {"n": number})
    with pytest.raises(StoreError):
        reader.refresh()
    store.fails = False
    assert [record.value["n"] for record in reader.refresh()] == list(range(count))
