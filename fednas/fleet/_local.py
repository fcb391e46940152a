"""Tasks on a pool of local processes, one torch thread each.

Workers come from a forkserver that has imported torch but done no torch work: a fork after
threaded torch work hangs, and importing it in each costs two seconds. A worker that dies takes one
task with it, which is tried again; one that dies idle takes pebble's whole pool with it, which is
made anew. Weight blobs travel through the store, never through the pool.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from fednas.data import Rows, open_rows
from fednas.errors import DiedInTask, FednasError, TaskFailed
from fednas.federation import Cost, Pending, Result, Task
from fednas.store import Blobs, Layout, Store

if TYPE_CHECKING:
    from fednas.fleet._work import Work

__all__ = ["LocalFleet", "StoreSource"]

DEATHS = 3
"""A task whose worker died this often is given up."""

_PR_SET_PDEATHSIG = 1


class LocalFleet:
    """A pool of worker processes over a store that all of them can open.

    Parameters
    ----------
    store : callable
        Opens the store in a worker; must be picklable.
    layout : Layout
    workers : int
        Processes; one per core is best.
    """

    def __init__(self, store: Callable[[], Store], layout: Layout, *, workers: int) -> None:
        if find_spec("torch") is None:  # every worker would die of it
            raise ModuleNotFoundError("training needs torch", name="torch")
        os.environ["OMP_NUM_THREADS"] = "1"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["fednas.fleet._work", "torch._dynamo"])
        _start_forkserver()
        self._new_pool = partial(
            ProcessPool,
            max_workers=workers,
            context=context,
            initializer=_begin,
            initargs=(store, layout, os.getpid()),
        )
        self._pool: ProcessPool | None = self._new_pool()
        self._lock = threading.Lock()
        self._running: dict[int, ProcessFuture[Result]] = {}

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

    def _in_pool(self, task: Task) -> ProcessFuture[Result] | None:
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

    def _done(self, pending: Pending, deaths: int, future: ProcessFuture[Result]) -> None:
        self._running.pop(id(pending), None)
        if pending.future.done():
            return
        error: Exception
        try:
            result = future.result()
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


def _start_forkserver() -> None:
    """With Ctrl-C blocked, for it and all its children: while it imports torch it would die of it.

    The resource tracker comes first, since its start unblocks the signal.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _discard(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


# --- in the worker -----------------------------------------------------------------------------


@dataclass
class StoreSource:
    """Blobs of a task, from the store; shards stay mapped or in memory."""

    store: Store
    layout: Layout
    _rows: OrderedDict[str, Rows] = field(default_factory=OrderedDict)

    def blob(self, digest: str) -> bytes:
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


@dataclass
class _Worker:
    execute: Callable[[Task, Any], Work]
    source: StoreSource


_worker: _Worker | None = None


def _begin(store: Callable[[], Store], layout: Layout, parent: int) -> None:
    """Once in each worker process."""
    global _worker
    _die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    from fednas.fleet._work import execute, one_thread

    one_thread()
    _worker = _Worker(execute, StoreSource(store(), layout))


def _die_with_parent(parent: int) -> None:
    """Where the system knows how: no worker outlives a search that was killed."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        return
    if os.getppid() == 1 or not _alive(parent):
        os._exit(1)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _work(task: Task) -> Result:
    assert _worker is not None
    wall, cpu = time.monotonic(), time.process_time()
    work = _worker.execute(task, _worker.source)
    blobs = Blobs(_worker.source.store, _worker.source.layout.blobs)
    durable = task.kind != "train"
    return Result(
        outputs={name: blobs.put(data, durable=durable) for name, data in work.outputs.items()},
        scalars=work.scalars,
        weight=work.weight,
        cost=Cost(
            cpu_seconds=time.process_time() - cpu,
            wall_seconds=time.monotonic() - wall,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        ),
    )
