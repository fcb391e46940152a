"""Waiting for tasks: results come one by one, and nobody is waited for too long.

A client's time runs from when a worker takes its task. While the task waits in the queue of its
device class, its time runs from when any task of that class was last taken or finished: a slow
class whose pods work through a queue loses nothing, and one that nobody serves does not hold up a
round for ever. Before the first task of a round is taken no time runs at all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fednas.errors import TaskFailed
from fednas.work import Fleet, Pending, Task, TaskDone, TaskResult

__all__ = ["Gathering"]


@dataclass(eq=False)
class _Waiting:
    """A task under way; ``taken`` is the loop's time when a worker took it."""

    pending: Pending
    future: asyncio.Future[TaskResult]
    taken: float | None = None


class Gathering:
    """Submits tasks and waits for them.

    Parameters
    ----------
    fleet : Fleet
    classes : mapping of str to str
        Client -> device class.
    timeout : float or None
        Seconds that a client may take; None waits.
    on_done : callable
        Told of each task that ended, on the event loop's thread.
    """

    def __init__(
        self,
        fleet: Fleet,
        classes: Mapping[str, str],
        *,
        timeout: float | None,
        on_done: Callable[[TaskDone], None],
    ) -> None:
        self._fleet = fleet
        self._classes = classes
        self._timeout = timeout
        self._on_done = on_done
        self._moved: dict[str, float] = {}

    async def one(self, task: Task) -> TaskResult:
        """The result of one task.

        Raises
        ------
        TaskFailed
        """
        (waiting,) = await self._submit([task])
        try:
            return await waiting.future
        finally:
            self._end([waiting])

    async def all(
        self, tasks: Sequence[Task]
    ) -> tuple[dict[str, TaskResult], dict[str, TaskFailed]]:
        """Results and failures by client, until all have come or their time has passed.

        Raises
        ------
        Exception
            What is no client's fault; the others are ended, and read.
        """
        if not tasks:
            return {}, {}
        submitted = await self._submit(tasks)
        try:
            await self._wait(submitted)
        finally:
            self._end(submitted)
        results: dict[str, TaskResult] = {}
        failures: dict[str, TaskFailed] = {}
        for waiting in submitted:
            if waiting.future.cancelled() or not waiting.future.done():
                continue
            error = waiting.future.exception()
            if error is None:
                results[waiting.pending.task.client] = waiting.future.result()
            elif isinstance(error, TaskFailed):
                failures[waiting.pending.task.client] = error
            else:
                raise error
        return results, failures

    async def _submit(self, tasks: Sequence[Task]) -> list[_Waiting]:
        """In a thread: a fleet may have to ask the store.

        Where that fails, or nobody waits any more, what was submitted is cancelled: the fleet goes
        on, and would have clients work for nobody.
        """
        submitted: list[Pending] = []
        left = threading.Event()

        def submit() -> None:
            for task in tasks:
                submitted.append(self._fleet.submit(task))
                if left.is_set():
                    self._fleet.cancel(submitted[-1])
                    return

        try:
            await asyncio.to_thread(submit)
        except BaseException:
            left.set()
            for pending in list(submitted):
                self._fleet.cancel(pending)
            raise
        return [self._watch(pending) for pending in submitted]

    def _watch(self, pending: Pending) -> _Waiting:
        waiting = _Waiting(pending, asyncio.wrap_future(pending.future))
        waiting.future.add_done_callback(partial(self._tell, pending.task))
        return waiting

    def _tell(self, task: Task, future: asyncio.Future[TaskResult]) -> None:
        """A task has ended; reading its error here leaves none unread."""
        if future.cancelled():
            return
        self._moved[self._class(task)] = asyncio.get_running_loop().time()
        error = future.exception()
        if error is None:
            self._on_done(TaskDone(task, future.result()))
        else:
            self._on_done(TaskDone(task, None, f"{type(error).__name__}: {error}"))

    def _end(self, submitted: Sequence[_Waiting]) -> None:
        for waiting in submitted:
            if not waiting.future.done():
                self._fleet.cancel(waiting.pending)
                waiting.future.cancel()

    # -- time ------------------------------------------------------------------------------------

    async def _wait(self, submitted: Sequence[_Waiting]) -> None:
        """Until all are done, their time has passed, or one failed by no client's fault."""
        loop, first = asyncio.get_running_loop(), 0.0
        if self._timeout is not None:
            await self._begin(submitted)
            first = loop.time()
        while left := [waiting for waiting in submitted if not waiting.future.done()]:
            if any(map(_is_broken, submitted)):
                return
            patience = None
            if self._timeout is not None:
                due = max(self._due(waiting, first, self._timeout) for waiting in left)
                patience = due - loop.time()
                if patience <= 0:
                    return
            await asyncio.wait(
                [waiting.future for waiting in left],
                timeout=patience,
                return_when=asyncio.FIRST_EXCEPTION,
            )

    async def _begin(self, submitted: Sequence[_Waiting]) -> None:
        """Until a worker takes the first task, or one has ended."""
        begun = asyncio.Event()
        for waiting in submitted:
            started = asyncio.wrap_future(waiting.pending.started)
            started.add_done_callback(partial(self._taken, waiting, begun))
            waiting.future.add_done_callback(lambda _: begun.set())
        await begun.wait()

    def _taken(self, waiting: _Waiting, begun: asyncio.Event, _: object) -> None:
        waiting.taken = asyncio.get_running_loop().time()
        self._moved[self._class(waiting.pending.task)] = waiting.taken
        begun.set()

    def _due(self, waiting: _Waiting, first: float, timeout: float) -> float:
        """When to wait for it no longer."""
        if waiting.taken is not None:
            return waiting.taken + timeout
        return max(first, self._moved.get(self._class(waiting.pending.task), first)) + timeout

    def _class(self, task: Task) -> str:
        return self._classes.get(task.client, task.client)


def _is_broken(waiting: _Waiting) -> bool:
    future = waiting.future
    if not future.done() or future.cancelled():
        return False
    return not isinstance(future.exception(), TaskFailed | None)
