"""Rounds that were interrupted: what the journal holds of one is obeyed, whoever is there now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fednas.errors import Corrupt, TaskFailed
from fednas.federation import INITIAL, RoundId, Updates
from fednas.search import Closed, Dropped, Event, Recorded, View
from fednas.work import Task
from tests.memory_store import MemoryStore
from tests.unit.search.toy import Killed, journal, run, search

FIRST = RoundId(0, INITIAL, "", 1)


def kill_after(kind: type, key: str) -> Callable[[Event], None]:
    def told(event: Event) -> None:
        if isinstance(event, Recorded) and isinstance(event.entry, kind) and event.entry.key == key:
            raise Killed

    return told


def interrupted(kind: type, key: str, **how: Any) -> MemoryStore:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, on_event=kill_after(kind, key), **how)
    return store


def whole(**how: Any) -> tuple[MemoryStore, View]:
    store = MemoryStore()
    return store, run(search(), store, **how)


def updates_of(store: MemoryStore, view: View) -> tuple[list[str], Updates]:
    """Clients of the first round, and their updates."""
    closed = view.get(Closed, FIRST)
    assert closed is not None
    assert view.start is not None
    updates = Updates.decode(store.get(f"journal/updates/{closed.updates}"))
    names = sorted(view.start.clients)
    return [names[index] for index in updates.clients], updates


def test_a_replay_asks_nobody_for_what_is_known() -> None:
    store, _ = whole()
    before = journal(store)
    store.delete("journal/end.json")
    asked: list[str] = []
    run(search(), store, before=lambda task: asked.append(task.id))
    assert asked == ["0000/trace"]
    assert journal(store) == before


def test_a_round_that_was_closed_is_averaged_over_the_same_updates_who_ever_is_back() -> None:
    clients, _ = updates_of(*whole())

    def away(task: Task) -> None:
        if task.id == f"{FIRST.key}/{clients[1]}":
            raise TaskFailed("out of battery")

    undisturbed, view = whole(failing=away)
    closed = view.get(Closed, FIRST)
    assert closed is not None
    assert closed.missing == (clients[1],)
    store, asked = interrupted(Closed, closed.key, failing=away), []
    run(search(), store, before=lambda task: asked.append(task.id))
    assert asked[1:3] == [f"{FIRST.key}/aggregate/weights", f"{FIRST.key}/evaluate"]
    assert journal(store) == journal(undisturbed)


@pytest.mark.parametrize("damage", [None, b"", b"foreign"])
def test_updates_that_a_power_cut_took_are_trained_again(damage: bytes | None) -> None:
    undisturbed, view = whole()
    clients, updates = updates_of(undisturbed, view)
    store = interrupted(Closed, Closed.key_of(FIRST))
    for digest in updates.digests["weights"][1:]:
        store.delete(f"work/blobs/{digest}")
        if damage is not None:
            store.put(f"work/blobs/{digest}", damage)
    before = journal(store)

    def gone(task: Task) -> None:
        if task.kind == "train":
            raise TaskFailed("gone for good")

    with pytest.raises(Corrupt, match=f"the update of {clients[1]} in {FIRST.key} is gone"):
        run(search(), store, failing=gone)
    assert journal(store) == before

    asked: list[str] = []
    run(search(), store, before=lambda task: asked.append(task.id))
    again = [f"{FIRST.key}/{client}" for client in clients[1:]]
    assert asked[: len(again) + 2] == ["0000/trace", *again, f"{FIRST.key}/aggregate/weights"]
    assert journal(store) == journal(undisturbed)


def test_a_candidate_that_found_no_quorum_has_failed_for_good() -> None:
    def away(task: Task) -> None:
        if task.id.startswith("0001/pre/conv1/"):
            raise TaskFailed("out of battery")

    undisturbed, view = whole(failing=away)
    dropped = view.get(Dropped, RoundId(1, "pre", "", 1))
    assert dropped is not None
    assert [row.candidate for row in dropped.ranking if row.failed] == ["conv1"]
    store, asked = interrupted(Dropped, dropped.key, failing=away), []
    run(search(), store, before=lambda task: asked.append(task.id))
    assert not [id for id in asked if "/conv1/" in id and id.startswith("0001/")]
    assert journal(store) == journal(undisturbed)
