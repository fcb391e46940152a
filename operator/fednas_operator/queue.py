"""The work queue: keys of searches, each at most once, with delays and backoff.

Like client-go's: a key that is added while it is being worked on is worked on again afterwards,
never by two workers at once. An event brings a key forward, but never during the pause after a
failure.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Key", "WorkQueue"]


class Key(NamedTuple):
    """One search."""

    namespace: str
    name: str


class WorkQueue:
    """Keys with the time at which each is due.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    backoff_cap : float
        Longest pause after failures, in seconds; pauses double from half a second, with jitter.
    waited : callable
        Takes the seconds for which a key was due before it was taken.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        backoff_cap: float = 30.0,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._clock = clock
        self._waited = waited
        self._cap = backoff_cap
        self._due: dict[Key, float] = {}
        self._not_before: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._active: dict[Key, float] = {}
        self._changed = asyncio.Event()
        self._ended = clock()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Work on a key after ``delay`` seconds, or earlier if it is due earlier."""
        due = max(self._clock() + delay, self._not_before.get(key, 0.0))
        if key not in self._due or due < self._due[key]:
            self._due[key] = due
            self._changed.set()

    async def get(self) -> Key:
        """Wait for the next due key that nobody works on; it is the caller's until `done`."""
        while True:
            self._changed.clear()
            if (key := self.take()) is not None:
                return key
            waiting = [due for key, due in self._due.items() if key not in self._active]
            pause = min(waiting) - self._clock() if waiting else None
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue

    def take(self) -> Key | None:
        """The next due key that nobody works on, as by `get`; None if there is none now."""
        now = self._clock()
        ready = [(due, key) for key, due in self._due.items() if key not in self._active]
        if not ready or (first := min(ready))[0] > now:
            return None
        due, key = first
        self._waited(now - due)
        del self._due[key]
        self._active[key] = now
        return key

    def done(self, key: Key, again: float | None) -> None:
        """The pass went well; look again after so many seconds, None: only on an event."""
        self._active.pop(key, None)
        self._ended = self._clock()
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if again is not None:
            self.add(key, again)
        self._changed.set()

    def failed(self, key: Key) -> float:
        """The pass went wrong; it is tried again after a growing pause, which is returned."""
        self._active.pop(key, None)
        self._ended = self._clock()
        count = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = min(self._cap, 0.5 * 2 ** min(count - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311
        self._not_before[key] = self._clock() + pause
        self._due.pop(key, None)
        self.add(key)
        self._changed.set()
        return pause

    def lag(self) -> float:
        """Seconds by which the most belated key is late, waiting or being worked on."""
        now = self._clock()
        late = [now - due for key, due in self._due.items() if key not in self._active]
        return max([0.0, *late, *(now - since for since in self._active.values())])

    def stalled(self) -> float:
        """Seconds for which keys were due and no pass ended, or that one pass has taken."""
        now = self._clock()
        late = [min(now - due, now - self._ended) for due in self._due.values()]
        return max([0.0, *late, *(now - since for since in self._active.values())])

    def __len__(self) -> int:
        return len(self._due.keys() | self._active.keys())
