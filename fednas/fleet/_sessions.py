"""Client programs that have registered, and those of them that wait for a task. Thread-safe."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fednas.fleet._protocol import Register

__all__ = ["Session", "Sessions", "Waiter", "Waiters"]

ALIVE_SECONDS = 45.0
"""A program is taken for alive so long after its last word: longer than a long poll."""

FORGET_SECONDS = 600.0


@dataclass(eq=False)
class Session:
    """A client program. ``holder`` outlives a restart in place, ``id`` does not."""

    id: str
    holder: str
    device_class: str
    numerics: Mapping[str, str]
    seen: float

    @property
    def digest(self) -> str:
        """Of the bits that its workers compute."""
        return self.numerics.get("digest", "")


class Sessions:
    """Who has registered.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def begin(self, request: Register) -> Session:
        """A program registers; its earlier sessions end."""
        holder = f"{request.device_class}/{request.name}"
        session = Session(
            secrets.token_hex(16), holder, request.device_class, request.numerics, self._clock()
        )
        with self._lock:
            kept = {key: old for key, old in self._sessions.items() if old.holder != holder}
            self._sessions = {**kept, session.id: session}
        return session

    def find(self, session_id: str) -> Session | None:
        """The session of that id, which has been heard of just now."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None:
                session.seen = self._clock()
            return session

    def end(self, session: Session) -> None:
        """A program has said goodbye."""
        with self._lock:
            self._sessions.pop(session.id, None)

    def alive(self) -> list[Session]:
        """Living programs; who has long been silent is forgotten."""
        now = self._clock()
        with self._lock:
            for session in list(self._sessions.values()):
                if now - session.seen > FORGET_SECONDS:
                    del self._sessions[session.id]
            return [
                session
                for session in self._sessions.values()
                if now - session.seen <= ALIVE_SECONDS
            ]


@dataclass(eq=False)
class Waiter:
    """A long poll that waits on its event loop; woken from any thread."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]

    @classmethod
    def here(cls) -> Waiter:
        """On the running loop."""
        loop = asyncio.get_running_loop()
        return cls(loop, loop.create_future())

    def wake(self) -> None:
        """Let it look again."""
        self.loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Waiters:
    """Long polls by device class, first come, first woken. Guarded by its owner's lock."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Waiter]] = {}

    def add(self, device_class: str, waiter: Waiter) -> None:
        """It waits from now on."""
        self._waiting.setdefault(device_class, deque()).append(waiter)

    def remove(self, device_class: str, waiter: Waiter) -> None:
        """It waits no more, woken or not."""
        waiting = self._waiting[device_class]
        if waiter in waiting:
            waiting.remove(waiter)

    def wake(self, device_class: str, count: int | None = 1) -> None:
        """Let so many look again; None: all of the class."""
        waiting = self._waiting.get(device_class, deque())
        for _ in range(len(waiting) if count is None else min(count, len(waiting))):
            waiting.popleft().wake()

    def wake_all(self) -> None:
        """Let everybody look again."""
        for device_class in self._waiting:
            self.wake(device_class, None)
