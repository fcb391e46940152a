"""Reading a journal in the order of its story, also while another process writes it."""

from __future__ import annotations

from fednas.search._entries import Started, parse
from fednas.search._view import Recorded
from fednas.store import Journal

__all__ = ["Reader", "read_all"]


def read_all(journal: Journal) -> list[Recorded]:
    """What is new in a journal that nobody else writes, in the order of the story."""
    found = [Recorded(parse(r.key, r.value), r.time) for r in journal.refresh()]
    return _in_order(found, _phases(found, ()))


class Reader:
    """Reads on, never giving an entry before what it builds on.

    Listing a store is not atomic: it may show an entry and miss one that was written before. Two
    listings one after the other do not: what is older than an entry of the first is in the second.
    So an entry is given once the journal was listed again after it was seen, with all that comes
    before it in the story.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[Recorded] = []
        self._phases: tuple[str, ...] = ()

    @property
    def waiting(self) -> int:
        """Entries that were seen and not given yet."""
        return len(self._waiting)

    def read(self) -> list[Recorded]:
        """What may be given now, in the order of the story."""
        settled = self._waiting
        new = [Recorded(parse(r.key, r.value), r.time) for r in self._journal.refresh()]
        self._waiting = [*settled, *new]
        self._phases = self._phases or _phases(self._waiting, ())
        if not settled or not self._phases:
            return []
        last = max(one.entry.order(self._phases) for one in settled)
        ready = [one for one in settled if one.entry.order(self._phases) == last]
        ready += [one for one in self._waiting if one.entry.order(self._phases) < last]
        given = {id(one) for one in ready}
        self._waiting = [one for one in self._waiting if id(one) not in given]
        return _in_order(ready, self._phases)


def _phases(found: list[Recorded], default: tuple[str, ...]) -> tuple[str, ...]:
    return next((o.entry.phases for o in found if isinstance(o.entry, Started)), default)


def _in_order(found: list[Recorded], phases: tuple[str, ...]) -> list[Recorded]:
    return sorted(found, key=lambda one: (one.entry.order(phases), one.time, one.entry.key))
