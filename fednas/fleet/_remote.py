"""A fleet of remote clients: tasks wait here until a client program of their class asks for one.

The search submits from its thread, the server's event loop leases and completes, a third thread
ends leases whose heartbeats stopped; one lock guards the book. Weights do not pass through here: a
lease carries URLs, and an upload is checked in the cloud's pool before its result counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import InvalidStateError
from dataclasses import dataclass
from functools import partial

import structlog

from fednas.errors import DiedInTask, TaskFailed, TrainingDiverged
from fednas.fleet._expected import Expectations, Expected
from fednas.fleet._leases import ATTEMPTS, Fate, Job, Lease, LeaseBook
from fednas.fleet._metrics import Metrics
from fednas.fleet._numerics import Numerics
from fednas.fleet._protocol import Complete, FailReason, Grant, Refusal, Register, Upload
from fednas.fleet._sessions import Session, Sessions, Waiter, Waiters
from fednas.fleet._updates import problem_of, refusal_of, result_of
from fednas.fleet._uploads import Uploads
from fednas.store import Layout, MinioStore
from fednas.work import CLOUD, Fleet, Pending, Task, TaskResult

__all__ = ["HEARTBEAT_SECONDS", "RemoteFleet"]

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 4 * HEARTBEAT_SECONDS

_NOT_SERVED = ""
"""The class in which programs wait that are given no work: a task wakes none of them."""

_ERRORS = {kind.reason: kind for kind in (DiedInTask, TrainingDiverged)}

log = structlog.get_logger("fednas.fleet")


@dataclass(eq=False)
class _Item:
    """What the book keeps for a task: who waits for it and what must come of it."""

    pending: Pending
    expected: Expected

    @property
    def task(self) -> Task:
        return self.pending.task


@dataclass(frozen=True)
class _Cloud:
    """What `RemoteFleet.open` brings."""

    store: MinioStore
    layout: Layout
    fleet: Fleet
    expectations: Expectations
    uploads: Uploads
    url_seconds: float


class RemoteFleet:
    """Tasks of clients go to client programs of their device class, others to the cloud's pool.

    Parameters
    ----------
    device_classes : mapping
        Client -> name of its device class.
    metrics : Metrics, optional
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        device_classes: Mapping[str, str],
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device_classes = dict(device_classes)
        self.clients = Counter(device_classes.values())
        self.metrics = metrics or Metrics()
        self.numerics = Numerics()
        self.sessions = Sessions(clock)
        self.over = False
        self._clock = clock
        self._lock = threading.Lock()
        self._book: LeaseBook[_Item] = LeaseBook(clock=clock, ttl=LEASE_SECONDS)
        self._jobs: dict[int, Job[_Item]] = {}
        self._waiters = Waiters()
        self._cloud: _Cloud | None = None
        self._closed = threading.Event()

    def open(
        self, store: MinioStore, layout: Layout, cloud: Fleet, *, url_seconds: float = 3600.0
    ) -> None:
        """Say where blobs lie and who does the cloud's work; no task may come before.

        Parameters
        ----------
        store : MinioStore
        layout : Layout
        cloud : Fleet
            Closed with this fleet.
        url_seconds : float
            How long signed URLs live: longer than a round.
        """
        expectations = Expectations(store.get_range, blobs=layout.blobs, data=layout.data)
        uploads = Uploads(store, layout, cloud)
        self._cloud = _Cloud(store, layout, cloud, expectations, uploads, url_seconds)
        threading.Thread(target=self._tend, daemon=True).start()

    @property
    def ready(self) -> bool:
        """Leases can be given."""
        return self._cloud is not None and not self.over

    # -- the search's side: the Fleet protocol ---------------------------------------------------

    def submit(self, task: Task) -> Pending:
        """Queue a task. May wait for the store."""
        assert self._cloud is not None, "submit before open"
        if task.client == CLOUD:
            return self._cloud.fleet.submit(task)
        pending = Pending(task)
        item = _Item(pending, self._cloud.expectations.of(task))
        device_class = self.device_classes[task.client]
        with self._lock:
            if task.client in self._book.benched:
                pending.future.set_exception(TaskFailed(f"{task.id}: {task.client} is benched"))
                return pending
            self._jobs[id(pending)] = self._book.add(item, device_class, task.client)
            self._waiters.wake(device_class)
        return pending

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for it any more; a result that still comes is dropped."""
        with self._lock:
            job = self._jobs.pop(id(pending), None)
            if job is not None:
                self._book.cancel(job)
        if job is None and self._cloud is not None:
            self._cloud.fleet.cancel(pending)
        pending.future.cancel()

    def close(self) -> None:
        """End the cloud's workers. Client programs are not told: the search may go on."""
        self._closed.set()
        if self._cloud is not None:
            self._cloud.uploads.close()
            self._cloud.fleet.close()

    def finish(self) -> None:
        """Tell every client program that the search is over."""
        with self._lock:
            self.over = True
            self._waiters.wake_all()

    # -- the clients' side -----------------------------------------------------------------------

    def register(self, request: Register) -> Session:
        """A client program introduces itself; what it held before it was restarted is freed."""
        for lease_id in request.unfinished:
            if self.device_class_of(lease_id) == request.device_class:
                self.fail(lease_id, "DiedInTask", "the client program died too")
        session = self.sessions.begin(request)
        self._release(session)
        log.info("client registered", holder=session.holder, workers=request.workers)
        return session

    def goodbye(self, session: Session) -> None:
        """A client program ends."""
        self.sessions.end(session)
        self._release(session)

    async def lease(
        self, session: Session, wait: float, gone: Callable[[], Awaitable[bool]]
    ) -> Grant | None:
        """A task for this client program, waiting so many seconds for one."""
        loop, device_class = asyncio.get_running_loop(), session.device_class
        deadline = loop.time() + wait
        while not await gone():
            waiter = Waiter.here()
            with self._lock:
                if self.over:
                    return None
                lease, queue = None, _NOT_SERVED
                if self._serves(session):
                    lease, queue = self._book.lease(session.holder, device_class), device_class
                if lease is None:
                    self._waiters.add(queue, waiter)
            if lease is not None:
                return self._granted(lease)
            try:
                await asyncio.wait_for(waiter.future, max(0.0, deadline - loop.time()))
            except TimeoutError:
                return None
            finally:
                with self._lock:
                    self._waiters.remove(queue, waiter)
        return None

    def _serves(self, session: Session) -> bool:
        """Whether a program may be given work at all. Under the lock."""
        benched = self._book.benched_holders
        return self.numerics.accepts(session) and session.holder not in benched

    def device_class_of(self, lease_id: str) -> str | None:
        """Of the task of a live lease."""
        with self._lock:
            lease = self._book.find(lease_id)
            return None if lease is None else lease.job.device_class

    def heartbeat(self, lease_id: str) -> bool:
        """Prolong a lease; False if it has ended."""
        with self._lock:
            return self._book.heartbeat(lease_id)

    def fail(self, lease_id: str, reason: FailReason, message: str) -> bool:
        """A client program gives a task back; False if its lease has ended."""
        with self._lock:
            lease = self._book.find(lease_id)
            fate = self._book.fail(
                lease_id,
                None if reason == "Abandoned" else reason,
                final=reason == "TrainingDiverged",
            )
        if lease is None or fate is Fate.STALE:
            return False
        self.metrics.failed.labels(reason).inc()
        self._log("task given back", lease, reason=reason, message=message)
        self._after(lease, fate, _ERRORS.get(reason, TaskFailed)(f"{reason}: {message}"))
        return True

    def complete(self, lease_id: str, report: Complete) -> bool:
        """A client program has uploaded its outputs; False if its lease has ended."""
        assert self._cloud is not None
        with self._lock:
            lease = self._book.complete(lease_id)
        if lease is None:
            self.metrics.stale.inc()
            return False
        item = lease.job.item
        problem = problem_of(item.task, item.expected, report)
        if problem is not None:
            self._refuse(lease, problem)
        elif not report.outputs:
            self._accept(lease, report, {})
        else:
            told = partial(self._looked, lease, report)
            self._cloud.uploads.look(lease.id, item.task, item.expected, report, told)
        return True

    # -- from a report to a result ---------------------------------------------------------------

    def _looked(
        self, lease: Lease[_Item], report: Complete, found: dict[str, TaskResult] | BaseException
    ) -> None:
        """The uploads have been looked at; on a thread of the cloud's pool."""
        if not isinstance(found, BaseException):
            self._accept(lease, report, found)
        elif (refused := refusal_of(found)) is not None:
            self._refuse(lease, refused)
        else:  # by no fault of the sender; the task is leased again
            with self._lock:
                fate = self._book.retry(lease)
            self._after(lease, fate, found)

    def _accept(
        self, lease: Lease[_Item], report: Complete, accepted: dict[str, TaskResult]
    ) -> None:
        item = lease.job.item
        with self._lock:
            counts = self._book.accept(lease)
            if counts:
                self._jobs.pop(id(item.pending), None)
        if not counts:
            self.metrics.stale.inc()
            return
        seconds = self._clock() - lease.given
        self.metrics.accepted.inc()
        self.metrics.task_seconds.observe(seconds)
        self.metrics.bytes_down.inc(item.expected.size)
        self.metrics.bytes_up.inc(sum(o.size for o in report.outputs.values()))
        log.info("update accepted", task=item.task.id, holder=lease.holder, seconds=seconds)
        with contextlib.suppress(InvalidStateError):
            item.pending.future.set_result(result_of(item.task, report, accepted))

    def _refuse(self, lease: Lease[_Item], refused: Refusal) -> None:
        """An update is no good; the next client program gets its task."""
        self.metrics.rejected.labels(refused.reason).inc()
        self._log("update rejected", lease, reason=refused.reason, message=refused.message)
        with self._lock:
            fate = self._book.reject(lease)
        self._after(lease, fate, TaskFailed(f"{refused.reason}: {refused.message}"))

    def _after(self, lease: Lease[_Item], fate: Fate, error: BaseException) -> None:
        """A lease ended without a result: the task is there again, or has failed for good."""
        job, pending = lease.job, lease.job.item.pending
        with self._lock:
            if fate is Fate.AGAIN:
                self._waiters.wake(job.device_class)
            if fate is not Fate.GIVEN_UP:
                return
            self._jobs.pop(id(pending), None)
        kind = type(error) if isinstance(error, TaskFailed) else TaskFailed
        tried = "" if kind is TrainingDiverged else f"{ATTEMPTS} attempts failed, the last with: "
        with contextlib.suppress(InvalidStateError):
            pending.future.set_exception(kind(f"{pending.task.id}: {tried}{error}"))

    # -- leasing ---------------------------------------------------------------------------------

    def _granted(self, lease: Lease[_Item]) -> Grant:
        """The task with leave to read its blobs and to write its outputs, and nothing else."""
        assert self._cloud is not None
        store, layout, seconds = self._cloud.store, self._cloud.layout, self._cloud.url_seconds
        key_of = partial(self._cloud.uploads.key, lease.id)
        task, expected = lease.job.item.task, lease.job.item.expected
        keys = {digest: layout.blobs + digest for digest in task.inputs.values()}
        keys |= {digest: layout.data + digest for digest in task.data.values()}
        uploads = {}
        for name, form in expected.outputs.items():
            post = store.presigned_post(key_of(name), form.size, seconds)
            uploads[name] = Upload(url=post.url, fields=post.fields, max_bytes=form.size)
        started = lease.job.item.pending.started
        if not started.done():
            started.set_result(time.monotonic())
        self.metrics.leases.inc()
        return Grant(
            lease=lease.id,
            task=task,
            urls={digest: store.presigned_get(key, seconds) for digest, key in keys.items()},
            uploads=uploads,
        )

    def _release(self, session: Session) -> None:
        with self._lock:
            ended = self._book.release(session.holder)
            self._waiters.wake(session.device_class, len(ended))

    def _tend(self) -> None:
        """Every second: end silent leases, let waiters look again."""
        while not self._closed.wait(1.0):
            with self._lock:
                ended = self._book.expire()
                self._waiters.wake(_NOT_SERVED, None)  # somebody may have consented to them
                for device_class in self.clients:
                    self._waiters.wake(device_class, self._book.queued(device_class))
            for lease in ended:
                self.metrics.expired.inc()
                self._log("lease expired", lease)

    # -- looking ---------------------------------------------------------------------------------

    def alive(self) -> dict[str, int]:
        """Living client programs of each device class that may be given work."""
        alive = Counter(s.device_class for s in self.sessions.alive() if self.numerics.accepts(s))
        return {name: alive[name] for name in sorted(self.clients)}

    def strangers(self) -> list[Session]:
        """Living client programs that train to other bits than the search: they get no work."""
        return [one for one in self.sessions.alive() if not self.numerics.accepts(one)]

    def available(self) -> int:
        """Clients that a living client program serves and that are not benched."""
        alive = self.alive()
        with self._lock:
            benched = Counter(self.device_classes[client] for client in self._book.benched)
        return sum(
            count - benched[name] for name, count in self.clients.items() if alive.get(name, 0)
        )

    def measure(self) -> None:
        """Set the gauges."""
        for device_class, count in self.alive().items():
            self.metrics.sessions.labels(device_class).set(count)
        with self._lock:
            for device_class in self.clients:
                self.metrics.queue.labels(device_class).set(self._book.queued(device_class))
            self.metrics.working.set(self._book.leased())
            self.metrics.benched.set(len(self._book.benched))

    def _log(self, event: str, lease: Lease[_Item], **fields: str) -> None:
        log.warning(event, task=lease.job.item.task.id, holder=lease.holder, **fields)
