"""The loop over a toy network: whatever stops it, running again ends in the same bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednas.errors import BadInput, Corrupt, DataError, FednasError, SearchFailed, TaskFailed
from fednas.federation import Task
from fednas.models import decode, encode
from fednas.search import View
from fednas.spec import FederatedSearch
from tests.memory_store import MemoryStore
from tests.unit.search.toy import run, search


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs but ``finally``."""


class KillAt:
    """Raises at the n-th call."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, _: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def journal(store: MemoryStore) -> dict[str, bytes]:
    return {key: data for key, data in store.objects.items() if key.startswith("journal/")}


def ladder(store: MemoryStore) -> dict[str, bytes]:
    return {key: data for key, data in store.objects.items() if key.startswith("ladder/")}


@pytest.fixture(scope="module")
def undisturbed() -> MemoryStore:
    store = MemoryStore()
    run(search(), store)
    return store


def test_a_search_ends_with_a_ladder_and_leaves_no_other_weights() -> None:
    store = MemoryStore()
    view = run(search(), store)
    assert view.end is not None
    assert view.end["reason"] == "Completed"
    assert view.end["rungs"] == len(view.ladder) > 2
    assert [key for key in store.objects if key.startswith("work/")] == []
    for rung in view.ladder:
        blob = store.get(f"ladder/rung-{rung.rung:02}.safetensors")
        assert decode(blob).size == rung.params == 3 * sum(rung.architecture.widths)
    assert json.loads(store.get("ladder/ladder.json")) == json.loads(json.dumps(view.ladder_rows))
    assert json.loads(store.get("ladder/ledger.json")) == view.ledger.to_dict()


def test_an_ended_search_is_read_and_not_run(undisturbed: MemoryStore) -> None:
    store = MemoryStore()
    store.objects |= journal(undisturbed)
    store._times = dict(undisturbed._times)
    view = run(search(), store, before=KillAt(0))
    assert [rung.sha256 for rung in view.ladder] == [
        rung.sha256 for rung in run(search(), undisturbed).ladder
    ]


@settings(max_examples=8)
@given(st.lists(st.integers(0, 90), max_size=4), st.lists(st.integers(0, 60), max_size=3))
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    undisturbed: MemoryStore, tasks: list[int], records: list[int]
) -> None:
    store = MemoryStore()
    for number in tasks:
        try:
            run(search(), store, before=KillAt(number))
        except Killed:
            continue
    for number in records:
        try:
            run(search(), store, on_record=KillAt(number))
        except Killed:
            continue
    run(search(), store)
    assert journal(store) == journal(undisturbed)
    assert ladder(store) == ladder(undisturbed)


def test_killed_at_each_record_it_goes_on_to_the_same_bytes(undisturbed: MemoryStore) -> None:
    store, lives = MemoryStore(), 0
    while True:
        lives += 1
        try:
            run(search(), store, on_record=KillAt(lives))
        except Killed:
            continue
        break
    assert lives == len(journal(undisturbed))
    assert journal(store) == journal(undisturbed)


def test_every_record_is_told_once_old_ones_first(undisturbed: MemoryStore) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    known = len(journal(store))
    told: list[str] = []
    run(search(), store, on_record=lambda record: told.append(record.key))
    assert sorted(told) == sorted(set(told))
    assert len(told) == len(journal(undisturbed))
    assert {f"journal/{key}.json" for key in told[:known]} <= set(journal(store))


def test_a_changed_spec_is_refused_with_every_change_and_nothing_is_touched() -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    before = dict(store.objects)
    changed = search("training.epochs=2", "seed=5")
    with pytest.raises(BadInput, match="started with another spec") as error:
        run(changed, store)
    assert "spec.training.epochs: 1 -> 2" in str(error.value)
    assert "spec.seed: 0 -> 5" in str(error.value)
    assert store.objects == before
    run(search(), store)
    before = dict(store.objects)
    with pytest.raises(BadInput, match=r"spec\.seed: 0 -> 5"):
        run(changed, store)
    assert store.objects == before


def test_what_does_not_change_the_result_may_change(undisturbed: MemoryStore) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    run(search("federation.roundTimeoutSeconds=7", "suspend=true"), store)
    assert journal(store) == journal(undisturbed)


def test_other_numerics_are_refused_unless_accepted() -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    with pytest.raises(BadInput, match="ran with numpy toy 1, here is numpy toy 2"):
        run(search(), store, numerics="toy 2")
    assert run(search(), store, numerics="toy 2", accept_new_numerics=True).end is not None


def test_a_start_no_better_than_chance_is_refused_and_says_what_to_do() -> None:
    store = MemoryStore()
    for _ in range(2):
        with pytest.raises(SearchFailed, match=r"model\.initial\.training\.rounds") as error:
            run(search(), store, worst=-10)
        assert error.value.reason == "StartingNetworkUntrained"
    assert json.loads(store.get("journal/zzz-end.json"))["failed"] is True


def test_an_initial_training_nobody_joins_says_why() -> None:
    def broken(task: Task) -> None:
        if task.kind == "train":
            task.inputs["weights"] = "gone"

    store = MemoryStore()
    with pytest.raises(FednasError):
        run(search(), store, before=broken)
    assert "journal/zzz-end.json" not in store.objects  # the store's fault: it may be mended


# --- start weights -------------------------------------------------------------------------------


def weighted() -> FederatedSearch:
    return search("model.initial.weights=start.safetensors")


@pytest.mark.parametrize(
    ("blob", "wrong"),
    [
        (b"these are not weights\n", "not safetensors"),
        (b"", "not safetensors"),
        (encode(np.zeros(3 * 64 - 1, np.float32)), "holds 191 numbers; this network has 192"),
        (encode(np.full(3 * 64, np.nan, np.float32)), "holds NaN or infinity"),
    ],
)
def test_wrong_start_weights_are_refused_before_anything_is_recorded(
    blob: bytes, wrong: str
) -> None:
    store = MemoryStore()
    with pytest.raises(DataError, match=r"spec\.model\.initial\.weights: start\.safet") as error:
        run(weighted(), store, weights=lambda: blob)
    assert wrong in str(error.value)
    assert journal(store) == {}
    right = encode(np.ones(3 * 64, np.float32))
    assert run(weighted(), store, weights=lambda: right).end is not None


def test_start_weights_are_not_read_again_once_they_are_evaluated() -> None:
    store = MemoryStore()
    right = encode(np.ones(3 * 64, np.float32))
    with pytest.raises(Killed):
        run(weighted(), store, weights=lambda: right, before=KillAt(20))

    def gone() -> bytes:
        raise DataError("the file is gone")

    assert run(weighted(), store, weights=gone).end is not None


# --- a store that lost or changed something ------------------------------------------------------


def test_a_lost_record_is_written_again_or_refused_but_never_changes_the_search(
    undisturbed: MemoryStore,
) -> None:
    whole = journal(undisturbed)
    restored = 0
    for key in sorted(whole):
        store = MemoryStore()
        store.objects |= undisturbed.objects
        store._times = dict(undisturbed._times)
        store.delete("journal/zzz-end.json")
        store.delete(key)
        try:
            run(search(), store)
        except FednasError as error:
            assert str(error)  # noqa: PT017
            for left, data in journal(store).items():
                assert data == whole[left]
        else:
            assert journal(store) == whole, key
            restored += 1
    assert restored > 10


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda data: b"", lambda data: data * 2]
)
def test_a_damaged_blob_stops_the_search_and_loses_nothing(damage: Any) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(40))
    before = journal(store)
    for key in store.objects:
        if key.startswith("work/"):
            store.objects[key] = damage(store.objects[key])
    with pytest.raises(Corrupt, match="its bytes are not what its name says"):
        run(search(), store)
    after = journal(store)
    assert {key: after[key] for key in before} == before


def test_a_client_that_always_fails_is_missed_and_the_search_goes_on() -> None:
    def flaky(task: Task) -> None:
        if task.client == "phone-3":
            raise TaskFailed("out of memory")

    store = MemoryStore()
    view = run(search(), store, failing=flaky)
    assert view.end is not None
    assert view.end["reason"] == "Completed"
    assert "phone-3" not in view.ledger.clients
    missing = [r.value["missing"] for r in view.records.values() if r.value.get("missing")]
    assert missing
    assert all(names == ["phone-3"] for names in missing)


def test_the_view_it_returns_is_that_of_its_journal(undisturbed: MemoryStore) -> None:
    view = run(search(), undisturbed)
    assert isinstance(view, View)
    assert {f"journal/{key}.json" for key in view.records} == set(journal(undisturbed))
