"""The loop over a toy network: whatever stops it, running again ends in the same bytes."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednas.errors import (
    Corrupt,
    Diverged,
    FednasError,
    NotFound,
    SearchFailed,
    StoreUnreachable,
    TaskFailed,
    TrainingDiverged,
)
from fednas.models import decode
from fednas.search import Closed, DataRead, Dropped, Event, Recorded, View, Won
from fednas.search._entries import _TYPES
from fednas.search._recorder import Recorder
from fednas.store import StoredObject
from fednas.work import Task, TaskDone
from tests.memory_store import MemoryStore
from tests.unit.search.toy import KillAt, Killed, journal, killed_at_each_entry, run, search


def entries(store: MemoryStore) -> int:
    return sum(key.endswith(".json") for key in journal(store))


FINAL = ("finalTraining.rounds=2", "finalTraining.clientsPerRound=3")
EVERY_PART = {
    "netAdapt": search(
        *FINAL,
        screening={"topK": {"keep": 3}},
        rounds={"adaptive": {"pre": 1, "postMax": 3, "patience": 1}},
        earlyDrop={"successiveHalving": {}},
        pairing="together",
        order="lossPerResource",
    ),
    "random": search(
        *FINAL,
        "finalTraining.rungs=all",
        "refit=false",
        strategy="random",
        candidates=3,
        rounds={"growing": {"pre": 1, "postMin": 0, "postMax": 2}},
    ),
    "uniform": search(*FINAL, strategy="uniform"),
    "nobody": search(
        *FINAL, "baseline=none", rounds={"constant": {"pre": 0, "post": 0}}, order="loss"
    ),
}
"""Searches that together go through every step and every kind of entry there is."""


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
    assert view.end.reason == "Completed"
    assert view.end.rungs == len(view.ladder) > 2
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
            run(search(), store, on_event=KillAt(number))
        except Killed:
            continue
    run(search(), store)
    assert journal(store) == journal(undisturbed)
    assert ladder(store) == ladder(undisturbed)


@pytest.mark.parametrize("name", ["toy", *EVERY_PART])
def test_killed_at_each_record_it_goes_on_to_the_same_bytes(name: str) -> None:
    killed_at_each_entry(EVERY_PART.get(name, search()))


@pytest.mark.parametrize("name", EVERY_PART)
@settings(max_examples=4)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=4))
def test_killed_at_any_task_of_any_part_it_goes_on_to_the_same_bytes(
    name: str, tasks: list[int]
) -> None:
    undisturbed, store = MemoryStore(), MemoryStore()
    run(EVERY_PART[name], undisturbed)
    for number in tasks:
        try:
            run(EVERY_PART[name], store, before=KillAt(number))
        except Killed:
            continue
    run(EVERY_PART[name], store)
    assert journal(store) == journal(undisturbed)
    assert ladder(store) == ladder(undisturbed)


def test_these_parts_are_all_there_are() -> None:
    kinds, phases = set(), set()
    for spec in EVERY_PART.values():
        view = run(spec, MemoryStore())
        kinds |= {entry.word for entry in view.entries.values()}
        phases |= {e.id.phase for e in view.entries.values() if isinstance(e, Dropped)}
    assert kinds == _TYPES.keys() - {"consent", "releasing"}
    assert phases == {"cut", "pre", "post"}


def test_every_entry_is_told_once_old_ones_first(undisturbed: MemoryStore) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    known = entries(store)
    told: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Recorded):
            told.append(event.entry.key)

    run(search(), store, on_event=tell)
    assert len(told) == len(set(told)) == entries(undisturbed)
    assert {f"journal/{key}.json" for key in told[:known]} <= set(journal(store))


def test_a_search_begun_before_winners_were_compared_goes_on_and_compares_the_next(
    undisturbed: MemoryStore,
) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, on_event=lambda e: kill_at(e, "0002/generated"))
    store.delete("journal/0001/led.json")
    asked: list[str] = []
    view = run(search(), store, before=lambda task: asked.append(task.id))
    assert [id for id in asked if id.endswith("/compare")] == ["0002/compare", "0003/compare"]
    assert len(view.leads) == 2
    assert ladder(store) == ladder(undisturbed)


def kill_at(event: Event, key: str) -> None:
    if isinstance(event, Recorded) and event.entry.key == key:
        raise Killed


def test_events_come_one_after_the_other_on_the_callers_thread() -> None:
    threads = set()
    run(search(), MemoryStore(), on_event=lambda _: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


class Numbered(BaseException):
    """Raised by a listener at each event of a kind from the ``after``-th on."""

    @classmethod
    def at(cls, kind: type, after: int) -> Callable[[Event], None]:
        seen = count(1)

        def told(event: Event) -> None:
            if isinstance(event, kind) and (number := next(seen)) >= after:
                raise cls(number)

        return told


@pytest.mark.parametrize(
    ("kind", "after"),
    [(DataRead, 1), (TaskDone, 1), (TaskDone, 30), (Recorded, 1), (Recorded, 14)],
)
def test_the_listeners_first_error_ends_the_search(
    kind: type, after: int, undisturbed: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    with pytest.raises(Numbered) as error:
        run(search(), store, on_event=Numbered.at(kind, after))
    assert error.value.args == (after,)
    gc.collect()
    assert caplog.records == []  # asyncio logs what nobody reads
    assert "journal/end.json" not in store.objects
    run(search(), store)
    assert journal(store) == journal(undisturbed)


def test_candidates_that_all_raise_end_the_search_and_leave_no_error_unread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[Killed] = []

    def kill(task: Task) -> None:
        if task.kind == "train" and "/pre/" in task.id:
            raised.append(Killed())
            raise raised[-1]

    with pytest.raises(Killed) as error:
        run(search(), MemoryStore(), before=kill)
    assert error.value in raised
    gc.collect()
    assert caplog.records == []


def test_the_store_is_never_asked_on_the_loops_thread() -> None:
    class Watched(MemoryStore):
        asked = 0

        def _watch(self) -> None:
            self.asked += 1
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return
            raise AssertionError("a blocking call on the event loop")

        def get(self, key: str) -> bytes:
            self._watch()
            return super().get(key)

        def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
            self._watch()
            super().put(key, data)

        def create(self, key: str, data: bytes) -> bool:
            self._watch()
            return super().create(key, data)

        def delete(self, *keys: str) -> None:
            self._watch()
            super().delete(*keys)

        def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
            self._watch()
            return super().list(prefix, after)

    store = Watched()
    run(search(), store)
    assert store.asked > 100


def test_what_does_not_change_the_result_may_change(undisturbed: MemoryStore) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    run(search("federation.roundTimeoutSeconds=7", "suspend=true"), store)
    assert journal(store) == journal(undisturbed)


def test_a_store_that_fails_ends_the_others_and_not_the_search() -> None:
    def broken(task: Task) -> None:
        if task.kind == "train":
            raise StoreUnreachable("no answer")

    store = MemoryStore()
    with pytest.raises(StoreUnreachable, match="no answer"):
        run(search(), store, failing=broken)
    assert "journal/end.json" not in store.objects  # the store's fault: it may be mended
    assert run(search(), store).end is not None


# --- training that diverges ----------------------------------------------------------------------


class Diverging:
    """Training that gives NaN, in the initial training or in the search."""

    def __init__(self, initial: bool) -> None:
        self.initial = initial
        self.tried: list[str] = []

    def __call__(self, task: Task) -> None:
        if task.kind == "train" and ("initial" in task.id) == self.initial:
            self.tried.append(task.id)
            raise TrainingDiverged("training diverged; lower the optimizer's learningRate")


@pytest.mark.parametrize("initial", [True, False])
def test_training_that_diverges_is_not_tried_again_and_is_the_reason(initial: bool) -> None:
    diverging = Diverging(initial)
    with pytest.raises(SearchFailed, match="lower the optimizer's learningRate") as error:
        run(search(), MemoryStore(), failing=diverging)
    assert error.value.reason == "TrainingDiverged"
    assert len(diverging.tried) == len(set(diverging.tried)) == (3 if initial else 12)


@pytest.mark.parametrize("phase", ["initial", "pre"])
def test_without_a_quorum_the_last_failure_is_told(phase: str) -> None:
    def failing(task: Task) -> None:
        if task.kind == "train" and f"/{phase}/" in task.id:
            raise TaskFailed("out of battery")

    with pytest.raises(SearchFailed, match="out of battery") as error:
        run(search(), MemoryStore(), failing=failing)
    assert error.value.reason in ("QuorumMissed", "TooManyFailedCandidates")


# --- a store that lost or changed something ------------------------------------------------------


def test_a_lost_record_is_written_again_or_refused_but_never_changes_the_search(
    undisturbed: MemoryStore,
) -> None:
    whole = journal(undisturbed)
    restored = 0
    for key in sorted(key for key in whole if key.endswith(".json")):
        store = MemoryStore()
        store.objects |= undisturbed.objects
        store._times = dict(undisturbed._times)
        store.delete("journal/end.json")
        store.delete(key)
        try:
            run(search(), store)
        except FednasError as error:
            assert str(error)  # noqa: PT017
            for left, data in journal(store).items():
                assert data == whole[left]
        else:
            # Nothing rests on how far a winner was ahead, so nobody misses it.
            missed = {key} if key.endswith("/led.json") else set()
            assert journal(store) == {k: data for k, data in whole.items() if k not in missed}
            restored += 1
    assert restored > 3


def test_a_lost_table_of_updates_is_missed_where_it_is_read(undisturbed: MemoryStore) -> None:
    view = run(search(), undisturbed)
    for entry in view.entries.values():
        if isinstance(entry, Closed) and entry.id.iteration and entry.updates:
            store = MemoryStore()
            store.objects |= undisturbed.objects
            store._times = dict(undisturbed._times)
            store.delete("journal/end.json")
            store.delete(f"journal/updates/{entry.updates}")
            with pytest.raises(NotFound, match=entry.updates):
                run(search(), store)


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
    assert view.end.reason == "Completed"
    assert "phone-3" not in view.ledger.clients.of_clients()
    missing = [e.missing for e in view.entries.values() if isinstance(e, Closed) and e.missing]
    assert missing
    assert all(names == ("phone-3",) for names in missing)


def test_the_view_it_returns_is_that_of_its_journal(undisturbed: MemoryStore) -> None:
    view = run(search(), undisturbed)
    assert isinstance(view, View)
    assert {f"journal/{key}.json" for key in view.entries} <= set(journal(undisturbed))
    assert len(view.entries) == entries(undisturbed)


def test_a_decision_that_differs_from_the_journals_is_diverged(undisturbed: MemoryStore) -> None:
    store = MemoryStore()
    store.objects |= undisturbed.objects
    store._times = dict(undisturbed._times)
    recorder = Recorder(store, "journal/", View(), lambda _: None)
    recorder.replay()
    (won,) = (e for e in recorder.view.entries.values() if isinstance(e, Won) and e.iteration == 1)
    asyncio.run(recorder.write(won))
    with pytest.raises(Diverged, match="0001/won"):
        asyncio.run(recorder.write(won.model_copy(update={"winner": "other"})))
    other = Recorder(store, "journal/", View(), lambda _: None)  # it has read nothing
    (dropped,) = (
        e for e in recorder.view.entries.values() if isinstance(e, Dropped) and e.id.iteration == 1
    )
    with pytest.raises(Diverged, match=dropped.key):
        asyncio.run(other.write(dropped.model_copy(update={"ranking": ()})))
