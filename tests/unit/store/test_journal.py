from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import Corrupt, Diverged, StoreError
from fednas.store import Journal, canonical_json
from tests.memory_store import MemoryStore

keys = st.sampled_from(["000-start", "001/generated", "001/pre/a.b/01-closed", "zzz-end"])
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
                assert writer.record(key, value).value == {"version": 1, **value}
            else:
                with pytest.raises(Diverged, match=key):
                    writer.record(key, value)
    replayed = Journal(store, "journal/")
    replayed.refresh()
    assert {key: dict(r.value) for key, r in replayed.records.items()} == {
        key: {"version": 1, **value} for key, value in truth.items()
    }
    assert replayed.records == {key: journal.records[key] for key in truth}


def test_refresh_gives_new_records_once_in_the_order_of_writing() -> None:
    store = MemoryStore()
    writer, reader = Journal(store, "journal/7/"), Journal(store, "journal/7/")
    for key in ("b", "a", "c/d"):
        writer.record(key, {})
    store.put("journal/7/notes.txt", b"not a record")
    store.put("journal/8/a.json", b"another search's")
    assert [record.key for record in reader.refresh()] == ["b", "a", "c/d"]
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


def test_a_record_without_a_field_that_is_read_is_corrupt() -> None:
    store = MemoryStore()
    store.put("journal/001/rung.json", b'{"version":1}')
    journal = Journal(store, "journal/")
    journal.refresh()
    with pytest.raises(Corrupt, match=r"001/rung\.json: is no journal record: has no 'macs'"):
        journal.records["001/rung"].value["macs"]


def test_a_record_of_a_later_version_is_refused_with_the_version() -> None:
    store = MemoryStore()
    store.put("journal/000-start.json", b'{"version":2}')
    with pytest.raises(StoreError, match="has version 2; this fednas reads up to 1"):
        Journal(store, "journal/").refresh()


def test_garbage_under_a_key_diverges_and_stays() -> None:
    store = MemoryStore()
    store.put("journal/a.json", b"garbage")
    with pytest.raises(Diverged, match="another coordinator of this search"):
        Journal(store, "journal/").record("a", {"x": 1})
    assert store.get("journal/a.json") == b"garbage"
