"""Tasks on a pool of local processes, one torch thread each.

A worker that dies takes one task with it, which is tried again; one that dies idle takes pebble's
whole pool with it, which is made anew. Weight blobs travel through the store, never through the
pool.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from fednas.data import Rows, open_rows
from fednas.errors import DiedInTask, FednasError, OtherNumerics, TaskFailed
from fednas.fleet import _worker
from fednas.fleet._cache import FileCache
from fednas.store import Blobs, Layout, Store
from fednas.work import CLOUD, Pending, Task, TaskResult

__all__ = ["LocalFleet", "StoreSource"]

DEATHS = 3
"""A task whose worker died this often is given up."""


class LocalFleet:
    """A pool of worker processes over a store that all of them can open.

    Parameters
    ----------
    store : callable
        Opens the store in a worker; must be picklable.
    layout : Layout
    workers : int
        Processes; one per core is best.
    cache : Path, optional
        A folder in which workers keep what they wrote, so that a blob is read from the store at
        most once; for stores that are far.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        layout: Layout,
        *,
        workers: int,
        cache: Path | None = None,
    ) -> None:
        self._new_pool = partial(
            _worker.new_pool, workers, _begin, store, layout, os.getpid(), cache
        )
        self._pool: ProcessPool | None = self._new_pool()
        self._lock = threading.Lock()
        self._running: dict[int, ProcessFuture[tuple[TaskResult, str]]] = {}
        self._numerics = ""

    def submit(self, task: Task) -> Pending:
        pending = Pending(task)
        pending.started.set_result(time.monotonic())
        self._schedule(pending, deaths=0)
        return pending

    def cancel(self, pending: Pending) -> None:
        pending.future.cancel()
        running = self._running.pop(id(pending), None)
        if running is not None:
            running.cancel()

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            _discard(pool)

    def _schedule(self, pending: Pending, deaths: int) -> None:
        future = self._in_pool(pending.task)
        if future is None:
            pending.future.cancel()
            return
        self._running[id(pending)] = future
        future.add_done_callback(partial(self._done, pending, deaths))

    def _in_pool(self, task: Task) -> ProcessFuture[tuple[TaskResult, str]] | None:
        """Its future in a pool that lives; None after `close`."""
        with self._lock:
            if self._pool is None:
                return None
            try:
                return self._pool.schedule(_work, args=(task,))
            except RuntimeError:  # broken: no worker of it was at work when one died
                broken, self._pool = self._pool, self._new_pool()
                # By a thread of its own: this one may be a thread of the broken pool.
                threading.Thread(target=_discard, args=(broken,), daemon=True).start()
                return self._pool.schedule(_work, args=(task,))

    def _done(
        self, pending: Pending, deaths: int, future: ProcessFuture[tuple[TaskResult, str]]
    ) -> None:
        self._running.pop(id(pending), None)
        if pending.future.done():
            return
        error: Exception
        try:
            result, numerics = future.result()
            self._check(numerics)
        except CancelledError:
            pending.future.cancel()
            return
        except (ProcessExpired, BrokenProcessPool) as death:
            if deaths + 1 < DEATHS:
                self._schedule(pending, deaths + 1)
                return
            code = getattr(death, "exitcode", None)
            error = DiedInTask(
                f"{pending.task.id}: its worker process died {DEATHS} times "
                f"(exit code {code}); out of memory?"
            )
        except FednasError as known:
            error = known
        except Exception as unknown:
            error = TaskFailed(f"{pending.task.id}: {unknown!r}")
        else:
            with suppress(InvalidStateError):  # cancelled in this moment
                pending.future.set_result(result)
            return
        with suppress(InvalidStateError):
            pending.future.set_exception(error)

    def _check(self, numerics: str) -> None:
        """All workers of a pool compute the same bits, also one that came later."""
        self._numerics = self._numerics or numerics
        if numerics != self._numerics:
            raise OtherNumerics(
                f"two workers of one machine train to other bits ({numerics[:12]} and "
                f"{self._numerics[:12]}): was it moved to another processor? Run again"
            )


def _discard(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


# --- in the worker -----------------------------------------------------------------------------


@dataclass
class StoreSource:
    """Blobs of a task, from the store; shards stay mapped or in memory."""

    store: Store
    layout: Layout
    cache: FileCache | None = None
    _rows: OrderedDict[str, Rows] = field(default_factory=OrderedDict)

    def blob(self, digest: str) -> bytes:
        if self.cache is not None and (kept := self.cache.read(digest)) is not None:
            return kept
        return Blobs(self.store, self.layout.blobs).get(digest)

    def rows(self, digest: str) -> Rows:
        if digest not in self._rows:
            data = Blobs(self.store, self.layout.data)
            data.check(digest)
            self._rows[digest] = open_rows(data.path(digest) or data.get(digest))
            while len(self._rows) > 64:
                self._rows.popitem(last=False)
        return self._rows[digest]

    def upload(self, key: str) -> bytes:
        return self.store.get(key)

    def put(self, data: bytes, *, durable: bool) -> str:
        """Write a blob, and keep it at hand."""
        digest = Blobs(self.store, self.layout.blobs).put(data, durable=durable)
        if self.cache is not None and len(data) <= self.cache.limit:
            with suppress(OSError):  # a disk that is full is no fault of the task
                self.cache.write(digest, [data])
        return digest


_source: StoreSource | None = None
_numerics: str = ""

CACHE_BYTES = 256 << 20
"""Of blobs that the workers of a pool keep together."""


def _begin(store: Callable[[], Store], layout: Layout, parent: int, cache: Path | None) -> None:
    """Once in each worker process."""
    global _source, _numerics
    _worker.begin(parent)
    from fednas.training import fingerprint

    _numerics = fingerprint()
    kept = None if cache is None else FileCache(cache, CACHE_BYTES)
    _source = StoreSource(store(), layout, kept)


def _work(task: Task) -> tuple[TaskResult, str]:
    """The result of a task, and the fingerprint of the worker that did it."""
    assert _source is not None
    work, usage = _worker.do(task, _source)
    durable = task.client == CLOUD  # what a client trained can be trained again
    result = TaskResult(
        outputs={n: _source.put(data, durable=durable) for n, data in work.outputs.items()},
        sizes={name: len(data) for name, data in work.outputs.items()},
        sums=work.sums,
        weight=work.weight,
        usage=usage,
    )
    return result, _numerics
