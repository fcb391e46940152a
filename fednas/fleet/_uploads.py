"""What client programs have uploaded: looked at in the cloud's pool before it counts, then removed.

The server never reads an upload itself: a task of the cloud does, beside the workers' other work.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from fednas.errors import StoreError
from fednas.fleet._expected import Expected
from fednas.fleet._protocol import Complete
from fednas.fleet._updates import accept_task
from fednas.store import Layout, MinioStore
from fednas.work import Fleet, Task, TaskResult

__all__ = ["Told", "Uploads"]

Told = Callable[[dict[str, TaskResult] | BaseException], None]
"""Is handed the result of each output's look, or why the first that failed did."""


class Uploads:
    """The uploads of one search.

    Parameters
    ----------
    store : MinioStore
    layout : Layout
    cloud : Fleet
        Has the looks done.
    """

    def __init__(self, store: MinioStore, layout: Layout, cloud: Fleet) -> None:
        self._store = store
        self._layout = layout
        self._cloud = cloud
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fednas-looks")
        self._closed = threading.Event()
        # Those of an earlier life have nobody left who waits for them.
        self._spent = deque(entry.key for entry in store.list(layout.uploads))
        threading.Thread(target=self._sweep, daemon=True).start()

    def key(self, lease: str, name: str) -> str:
        """Where an output of a lease is uploaded to."""
        return f"{self._layout.uploads}{lease}/{name}"

    def look(
        self, lease: str, task: Task, expected: Expected, report: Complete, told: Told
    ) -> None:
        """Have all outputs of a report looked at; returns at once.

        Parameters
        ----------
        lease : str
            Its name.
        told : callable
            Called once, on a thread of the cloud's pool, unless the fleet is closed before.
        """
        # Not on the caller's event loop: a pool that has to start takes seconds.
        self._pool.submit(self._look, lease, task, expected, report, told)

    def close(self) -> None:
        """Look at nothing any more."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(
        self, lease: str, task: Task, expected: Expected, report: Complete, told: Told
    ) -> None:
        found: dict[str, TaskResult] = {}
        over = False

        def end(what: dict[str, TaskResult] | BaseException) -> None:
            nonlocal over
            with self._lock:
                first, over = not over, True
            if first:
                told(what)

        def looked(name: str, future: Future[TaskResult]) -> None:
            self._spent.append(self.key(lease, name))
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                end(error)
                return
            with self._lock:
                found[name] = future.result()
                complete = len(found) == len(report.outputs)
            if complete:
                end(found)

        for name, output in report.outputs.items():
            form = expected.outputs[name]
            try:
                pending = self._cloud.submit(
                    accept_task(task, form, name, self.key(lease, name), output.sha256)
                )
            except Exception as error:  # the pool has broken; nothing may wait for ever
                end(error)
                return
            pending.future.add_done_callback(partial(looked, name))

    def _sweep(self) -> None:
        """Remove uploads that were looked at."""
        while not self._closed.wait(1.0):
            while self._spent:
                keys = [self._spent[index] for index in range(min(1000, len(self._spent)))]
                with contextlib.suppress(StoreError):
                    self._store.delete(*keys)
                for _ in keys:
                    self._spent.popleft()
