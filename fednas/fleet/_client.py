"""A client program: pulls tasks of its device class and does them in one-thread worker processes.

This process imports no torch. It asks for a task, fetches its blobs into a cache, hands it to a
worker, uploads what came out and reports. It needs no credentials of the store: every URL comes
with the lease. It never exits to try again; whatever is away - coordinator, store - is asked again
after a capped, jittered wait. A worker that dies costs one task.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog
from pebble import ProcessExpired

from fednas.errors import Corrupt, FednasError, TrainingDiverged
from fednas.fleet import _worker
from fednas.fleet._backoff import Backoff
from fednas.fleet._cache import CachedSource, FileCache
from fednas.fleet._connection import Connection, Lost, Refused
from fednas.fleet._protocol import (
    PROTOCOL,
    Complete,
    FailReason,
    Grant,
    Register,
    Upload,
    Uploaded,
)
from fednas.store import digest_of
from fednas.work import Task

__all__ = ["Client"]

IDLE_SECONDS = 10.0
"""Between two looks at a search that is over."""

GOODBYE_SECONDS = 2.0
_CODE = re.compile("<Code>([A-Za-z][A-Za-z0-9]{0,63})</Code>")

log = structlog.get_logger("fednas.client")


class _Dropped(Exception):
    """The lease has ended, or the program was told to stop: nobody waits for this task."""


class _Unfinished(Exception):
    """The task cannot be done here."""

    def __init__(self, reason: FailReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(eq=False)
class _Held:
    """A lease in work; ``gone`` once it has ended."""

    grant: Grant
    gone: threading.Event = field(default_factory=threading.Event)


class Client:
    """Works until it is stopped.

    Parameters
    ----------
    connection : Connection
        Where tasks come from.
    cache : FileCache
    device_class, name : str
        As in `Register`.
    workers : int
        Worker processes, each with one torch thread.
    exit_when_over : bool
        End when the search is over, instead of waiting for the next coordinator.
    """

    def __init__(
        self,
        connection: Connection,
        cache: FileCache,
        *,
        device_class: str,
        name: str,
        workers: int,
        exit_when_over: bool,
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._introduction = Register(
            protocol=PROTOCOL, device_class=device_class, name=name, workers=workers
        )
        self._workers = workers
        self._exit_when_over = exit_when_over
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._http = httpx.Client(timeout=httpx.Timeout(30.0, connect=5.0), follow_redirects=False)
        self._pool = self._new_pool()

    def run(self) -> None:
        """Do tasks until `stop` is called or, if so told, the search is over."""
        threading.Thread(target=self._begin, daemon=True).start()
        self._stop.wait()
        self._leave()

    def _begin(self) -> None:
        """Learn which bits the workers compute, and go to work."""
        numerics = self._numerics()
        if numerics is None:
            return
        with suppress(OSError):  # what cannot be removed is in nobody's way
            self._cache.sweep()
        self._connection.introduce(
            lambda: self._introduction.model_copy(
                update={"numerics": numerics, "unfinished": self._cache.unfinished()}
            ),
            lambda message: self._cache.forget(message.unfinished),
        )
        slots = [self._slot] * self._workers
        for target in (*slots, self._beat):
            threading.Thread(target=target, daemon=True).start()

    def _numerics(self) -> dict[str, str] | None:
        """What a worker says of itself; None when told to stop before."""
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                found: dict[str, str] = self._pool.schedule(_describe).result()
            except Exception as error:  # a worker that died, or a pool that broke
                log.warning("no worker starts", error=repr(error))
                self._stop.wait(backoff.wait())
                with self._lock:
                    self._pool = self._new_pool()
            else:
                return found
        return None

    def stop(self) -> None:
        """Give back the tasks under way and end; safe in a signal handler."""
        self._stop.set()

    def _leave(self) -> None:
        with self._lock:
            held = list(self._held.values())
        deadline = time.monotonic() + GOODBYE_SECONDS
        for one in held:
            one.gone.set()
            self._connection.give_back(one.grant.lease, "Abandoned", "told to stop", deadline)
        self._connection.goodbye(deadline)
        self._pool.stop()
        self._pool.join(timeout=GOODBYE_SECONDS)

    # -- one task after the other ----------------------------------------------------------------

    def _slot(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                answer = self._connection.ask()
            except (Lost, Refused) as error:
                pause = backoff.wait()
                log.warning("no answer", error=str(error), seconds=round(pause, 1))
                self._stop.wait(pause)
                continue
            except Exception:
                log.exception("asking for a task failed")
                self._stop.wait(backoff.wait())
                continue
            backoff.reset()
            if answer.grant is not None:
                self._do(answer.grant)
            elif answer.over:
                if self._exit_when_over:
                    log.info("the search is over")
                    self.stop()
                self._stop.wait(IDLE_SECONDS)

    def _do(self, grant: Grant) -> None:
        """One task, to its report."""
        task, began = grant.task, time.monotonic()
        try:
            with self._holding(grant) as held:
                self._fetch(held)
                outputs, report = self._work(held)
                uploaded = {
                    name: self._upload(held, grant.uploads[name], data)
                    for name, data in outputs.items()
                    if name in grant.uploads
                }
                self._report(held, uploaded, report)
        except _Dropped:
            log.info("task dropped", task=task.id)
        except _Unfinished as error:
            log.warning("task failed", task=task.id, reason=error.reason, error=str(error))
            self._connection.give_back(grant.lease, error.reason, str(error))
        except Exception as error:
            log.exception("task failed", task=task.id)
            self._connection.give_back(grant.lease, "TaskFailed", repr(error))
        else:
            log.info("task done", task=task.id, seconds=round(time.monotonic() - began, 3))

    @contextmanager
    def _holding(self, grant: Grant) -> Iterator[_Held]:
        """Heartbeats, a mark on the disk, and its blobs safe from eviction, within the block."""
        held = _Held(grant)
        with self._cache.held(grant.urls), self._cache.mark(grant.lease):
            with self._lock:
                self._held[grant.lease] = held
            try:
                yield held
            finally:
                with self._lock:
                    del self._held[grant.lease]

    def _persist(self, held: _Held, reason: FailReason, attempt: Callable[[], None]) -> None:
        """Try until it works or nobody waits any more; refusals end it."""
        backoff = Backoff()
        while True:
            self._check(held)
            try:
                attempt()
                return
            except httpx.TransportError as error:
                trouble = repr(error)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status < 500 and status not in (408, 429):
                    code = _CODE.search(error.response.text[:4096])  # of S3; never its body
                    said = f"HTTP {status}: {code[1]}" if code else f"HTTP {status}"
                    raise _Unfinished(reason, said) from error
                trouble = f"HTTP {status}"
            pause = backoff.wait()
            log.warning("the store does not answer", error=trouble, seconds=round(pause, 1))
            held.gone.wait(pause)

    def _check(self, held: _Held) -> None:
        if held.gone.is_set() or self._stop.is_set():
            raise _Dropped

    def _fetch(self, held: _Held) -> None:
        for digest, url in held.grant.urls.items():
            if self._cache.has(digest):
                continue

            def attempt(digest: str = digest, url: str = url) -> None:
                with self._http.stream("GET", url) as answer:
                    if answer.is_error:
                        answer.read()
                        answer.raise_for_status()
                    self._cache.write(digest, answer.iter_bytes(1 << 20))

            try:
                self._persist(held, "FetchFailed", attempt)
            except Corrupt as error:
                raise _Unfinished("FetchFailed", str(error)) from error

    def _work(self, held: _Held) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Run the task in a worker process: outputs, and what to report with them."""
        task = held.grant.task
        try:
            future = self._pool.schedule(_run, args=(task, CachedSource(self._cache.folder)))
        except RuntimeError as error:  # the pool itself has broken
            with self._lock:
                self._pool = self._new_pool()
            raise _Unfinished("DiedInTask", repr(error)) from error
        while not wait([future], timeout=0.5).done:
            if held.gone.is_set() or self._stop.is_set():
                future.cancel()
                raise _Dropped
        try:
            outputs, report = future.result()
        except ProcessExpired as death:
            message = f"the worker process died (exit code {death.exitcode}); out of memory?"
            raise _Unfinished("DiedInTask", message) from death
        except TrainingDiverged as error:
            raise _Unfinished("TrainingDiverged", str(error)) from error
        except FednasError as error:
            raise _Unfinished("TaskFailed", str(error)) from error
        except Exception as error:
            raise _Unfinished("TaskFailed", repr(error)) from error
        return outputs, report

    def _upload(self, held: _Held, to: Upload, data: bytes) -> Uploaded:
        def attempt() -> None:
            self._http.post(to.url, data=to.fields, files={"file": data}).raise_for_status()

        self._persist(held, "UploadFailed", attempt)
        return Uploaded(sha256=digest_of(data), size=len(data))

    def _report(self, held: _Held, outputs: dict[str, Uploaded], report: dict[str, Any]) -> None:
        backoff = Backoff()
        while True:
            self._check(held)
            try:
                self._connection.complete(
                    held.grant.lease,
                    lambda session: Complete(session=session, outputs=outputs, **report),
                )
                return
            except Refused as error:
                raise _Dropped from error
            except Lost:
                held.gone.wait(backoff.wait())

    # -- heartbeats ------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._stop.wait(self._connection.heartbeat_seconds):
            with self._lock:
                held = list(self._held.values())
            for one in held:
                if not self._connection.heartbeat(one.grant.lease):
                    one.gone.set()

    # -- workers ---------------------------------------------------------------------------------

    def _new_pool(self) -> Any:
        return _worker.new_pool(self._workers, _worker.begin, os.getpid())


def _describe() -> dict[str, str]:
    """In a worker: what its bits depend on."""
    from fednas.training import numerics

    return numerics()


def _run(task: Task, source: CachedSource) -> tuple[dict[str, bytes], dict[str, Any]]:
    """In a worker: do the task, and measure it."""
    work, usage = _worker.do(task, source)
    return work.outputs, {"sums": work.sums, "weight": work.weight, "usage": usage}
