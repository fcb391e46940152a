"""A fleet that tells of every task that ended: for progress, and for what the work took."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from fednas.federation import Fleet, Pending, Result, Task

__all__ = ["TaskDone", "WatchedFleet"]


@dataclass(frozen=True)
class TaskDone:
    """A task ended: with a result, or with a reason for having none."""

    task: Task
    result: Result | None
    reason: str | None = None


class WatchedFleet:
    """Another fleet, with ``on_done`` called for every task that was not cancelled."""

    def __init__(self, fleet: Fleet, on_done: Callable[[TaskDone], None]) -> None:
        self._fleet = fleet
        self._on_done = on_done

    def submit(self, task: Task) -> Pending:
        pending = self._fleet.submit(task)
        pending.future.add_done_callback(lambda future: self._tell(task, future))
        return pending

    def cancel(self, pending: Pending) -> None:
        self._fleet.cancel(pending)

    def close(self) -> None:
        self._fleet.close()

    def _tell(self, task: Task, future: Future[Result]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._on_done(TaskDone(task, future.result()))
        else:
            self._on_done(TaskDone(task, None, f"{type(error).__name__}: {error}"))
