from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fednas.errors import Corrupt
from fednas.federation import RoundId
from fednas.search import (
    Added,
    Closed,
    Dropped,
    Generated,
    Led,
    Reader,
    Recorded,
    Scored,
    View,
    Won,
    parse,
)
from fednas.store import Journal, StoredObject
from tests.memory_store import MemoryStore
from tests.unit.tracking.conftest import recorded

PHASES = ("initial", "cut", "pre", "post")


def test_every_entry_is_read_back_as_it_was_written() -> None:
    kinds = set()
    for one in recorded():
        assert parse(one.entry.key, one.entry.value()) == one.entry
        kinds.add(type(one.entry).__name__)
    assert kinds == {
        "Added", "Closed", "Computed", "Dropped", "Ended", "Generated", "Scored", "Started",
        "Tuned", "Won",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nonsense", {}),
        ("0001/pre/x/01-closed", {}),
        ("0001/pre/x/y/z/01-scored", {"blobs": {}, "sums": {}}),
        ("one/won", {"winner": "x", "ranking": []}),
        ("1/won", {"winner": "x", "ranking": []}),
        ("0001/won", {"winner": "x", "ranking": [], "more": 1}),
    ],
)
def test_what_is_no_entry_is_corrupt_and_named(key: str, value: dict[str, object]) -> None:
    with pytest.raises(Corrupt, match=f"journal: {key}"):
        parse(key, value)


def test_iterations_beyond_999_sort_as_numbers() -> None:
    numbers = [1, 2, 10, 99, 100, 998, 999, 1000, 1001]
    won = [Won(iteration=number, winner="x", ranking=()) for number in numbers]
    scored = [Scored(id=RoundId(number, "pre", "x", 1), blobs={}, sums={}) for number in numbers]
    for entries in (won, scored):
        shuffled = random.Random(1).sample(entries, len(entries))
        assert sorted(shuffled, key=lambda entry: entry.order(PHASES)) == entries
        assert sorted(shuffled, key=lambda entry: entry.key) == entries
        assert [parse(entry.key, entry.value()) for entry in entries] == entries


def test_rounds_beyond_99_sort_as_numbers_too() -> None:
    entries = [
        Scored(id=RoundId(1, "pre", "x", number), blobs={}, sums={})
        for number in (2, 99, 100, 1000)
    ]
    shuffled = random.Random(1).sample(entries, len(entries))
    assert sorted(shuffled, key=lambda entry: entry.order(PHASES)) == entries


def test_the_lead_comes_after_all_rounds_and_before_the_winner() -> None:
    led = Led(iteration=1, winner="x", runner_up="y", by="loss", sums={"samples": 9})
    entries = [
        Scored(id=RoundId(1, "post", "x", 100), blobs={}, sums={}),
        Dropped(id=RoundId(1, "post", "", 100), ranking=()),
        led,
        Won(iteration=1, winner="x", ranking=()),
        Scored(id=RoundId(2, "cut", "x", 0), blobs={}, sums={}),
    ]
    shuffled = random.Random(1).sample(entries, len(entries))
    assert sorted(shuffled, key=lambda entry: entry.order(PHASES)) == entries
    assert led.key == "0001/led"
    assert parse(led.key, led.value()) == led


def test_a_phase_that_the_search_has_not_is_corrupt() -> None:
    entry = Scored(id=RoundId(1, "extra", "x", 1), blobs={}, sums={})
    with pytest.raises(Corrupt, match="no phase 'extra'"):
        entry.order(PHASES)


class Torn(MemoryStore):
    """A listing that shows some of the newest objects and misses others, until the next one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.listed: set[str] = set()

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        found = list(super().list(prefix, after))
        if prefix != "journal/":
            return iter(found)
        shown = [o for o in found if o.key in self.listed or self.random.random() < 0.5]
        self.listed = {o.key for o in found}
        return iter(shown)


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_given_before_what_it_builds_on_however_a_listing_is_torn(seed: int) -> None:
    store = Torn(seed)
    writer, reader = Journal(store, "journal/"), Reader(Journal(store, "journal/"))
    view, given = View(), []
    waiting = recorded()
    while waiting or reader.waiting:
        for one in waiting[: store.random.randrange(4)]:
            writer.record(one.entry.key, one.entry.value())
            waiting.remove(one)
        for one in reader.read():
            view.apply(one)  # Corrupt, if something is missing
            given.append(one.entry)
    for _ in range(3):
        given += [one.entry for one in reader.read()]
    assert sorted(entry.key for entry in given) == sorted(one.entry.key for one in recorded())
    kinds = [entry for entry in given if isinstance(entry, Generated | Won | Added)]
    assert kinds == [o.entry for o in recorded() if isinstance(o.entry, Generated | Won | Added)]


def test_a_reader_gives_each_entry_once_and_the_newest_one_look_later() -> None:
    store = MemoryStore()
    writer, reader = Journal(store, "journal/"), Reader(Journal(store, "journal/"))
    entries = recorded()
    for one in entries[:3]:
        writer.record(one.entry.key, one.entry.value())
    assert reader.read() == []
    assert [one.entry for one in reader.read()] == [one.entry for one in entries[:3]]
    assert reader.read() == []


def test_a_view_knows_its_rounds_by_kind() -> None:
    view = View([Recorded(one.entry, one.time) for one in recorded()])
    closed = [entry for entry in view.entries.values() if isinstance(entry, Closed)]
    for entry in closed:
        assert view.get(Closed, entry.id) is entry
