"""A fleet of remote clients: tasks wait here until a client program of their class asks for one.

The search submits from its thread, the server's event loop leases and completes, a third thread
ends leases whose heartbeats stopped; one lock guards the book. Weights do not pass through here: a
lease carries URLs, and an upload is checked by a task of kind ``accept`` in the cloud's pool before
its result counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from functools import partial

import structlog

from fednas.errors import Corrupt, DiedInTask, FednasError, NotFound, StoreError, TaskFailed
from fednas.federation import CLOUD, Fleet, Pending, Result, Task
from fednas.fleet._expected import Expectations, Expected
from fednas.fleet._leases import ATTEMPTS, Fate, Job, Lease, LeaseBook
from fednas.fleet._metrics import Metrics
from fednas.fleet._protocol import Complete, FailReason, Grant, Register, Upload
from fednas.store import Layout, MinioStore

__all__ = ["HEARTBEAT_SECONDS", "RemoteFleet", "Session"]

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 4 * HEARTBEAT_SECONDS
ALIVE_SECONDS = 45.0
"""A client program is taken for alive so long after its last word: longer than a long poll."""

URL_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class _Report:
    """What a client gives for a task of some kind; whatever else it says is ignored."""

    outputs: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()


REPORTS = {"train": _Report(("weights",), ("samples", "loss"))}

log = structlog.get_logger("fednas.fleet")


@dataclass(eq=False)
class Session:
    """A client program that has registered."""

    id: str
    holder: str
    device_class: str
    workers: int
    seen: float


@dataclass(eq=False)
class _Item:
    """What the book keeps for a task: who waits for it and what must come of it."""

    pending: Pending
    expected: Expected


class RemoteFleet:
    """Tasks of clients go to client programs of their device class, others to ``cloud``.

    Can be asked for leases before it is opened: there are none.

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
        self.metrics = metrics or Metrics()
        self.over = False
        self._clock = clock
        self._lock = threading.Lock()
        self._book: LeaseBook[_Item] = LeaseBook(clock=clock, ttl=LEASE_SECONDS)
        self._jobs: dict[int, Job[_Item]] = {}
        self._sessions: dict[str, Session] = {}
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._store: MinioStore | None = None
        self._spent: deque[str] = deque()
        self._closed = threading.Event()

    def open(self, store: MinioStore, layout: Layout, cloud: Fleet) -> None:
        """Say where blobs lie and who does the cloud's work; tasks may come from now on."""
        self._layout, self._cloud = layout, cloud
        self._expectations = Expectations(store.get_range, blobs=layout.blobs, data=layout.data)
        self._store = store
        threading.Thread(target=self._tend, name="fednas-leases", daemon=True).start()
        self._spent.extend(entry.key for entry in store.list(layout.uploads))
        threading.Thread(
            target=self._sweep, args=(store,), name="fednas-uploads", daemon=True
        ).start()

    @property
    def ready(self) -> bool:
        """Leases can be given."""
        return self._store is not None and not self.over

    # -- the search's side: the Fleet protocol ---------------------------------------------------

    def submit(self, task: Task) -> Pending:
        """Queue a task. May wait for the store."""
        assert self._store is not None, "submit before open"
        if task.client == CLOUD:
            return self._cloud.submit(task)
        pending = Pending(task)
        item = _Item(pending, self._expectations.of(task))
        device_class = self.device_classes[task.client]
        with self._lock:
            if task.client in self._book.benched:
                pending.future.set_exception(TaskFailed(f"{task.id}: {task.client} is benched"))
                return pending
            self._jobs[id(pending)] = self._book.add(item, device_class, task.client)
            self._wake(device_class)
        return pending

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for it any more; a result that still comes is dropped."""
        with self._lock:
            job = self._jobs.pop(id(pending), None)
            if job is not None:
                self._book.cancel(job)
        if job is None:
            self._cloud.cancel(pending)
        pending.future.cancel()

    def close(self) -> None:
        """Give no more leases, and end the cloud's workers."""
        self.finish()
        self._closed.set()
        if self._store is not None:
            self._cloud.close()

    def finish(self) -> None:
        """Tell every client program that the search is over."""
        self.over = True
        with self._lock:
            for device_class in list(self._waiting):
                self._wake(device_class, everyone=True)

    # -- the clients' side -----------------------------------------------------------------------

    def register(self, request: Register) -> Session:
        """A client program introduces itself; what it held before it was restarted is freed."""
        holder = f"{request.device_class}/{request.name}"
        for lease_id in request.unfinished:
            if self.device_class_of(lease_id) == request.device_class:
                self.fail(lease_id, "DiedInTask", "the client program died too")
        session = Session(
            secrets.token_hex(16), holder, request.device_class, request.workers, self._clock()
        )
        with self._lock:
            for old in [s for s in self._sessions.values() if s.holder == holder]:
                del self._sessions[old.id]
            self._book.release(holder)
            self._sessions[session.id] = session
            self._wake(session.device_class)
        log.info("client registered", holder=holder, workers=request.workers)
        return session

    def session(self, session_id: str) -> Session | None:
        """The session of that id, which is alive."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None:
                session.seen = self._clock()
            return session

    def goodbye(self, session: Session) -> None:
        """A client program ends."""
        with self._lock:
            self._sessions.pop(session.id, None)
            self._book.release(session.holder)
            self._wake(session.device_class)

    async def lease(
        self, session: Session, wait: float, gone: Callable[[], Awaitable[bool]]
    ) -> Grant | None:
        """A task for this client program, waiting so many seconds for one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while not self.over and not await gone():
            waiter = _Waiter(loop, loop.create_future())
            with self._lock:
                lease = self._book.lease(session.holder, session.device_class)
                if lease is None:
                    self._waiting.setdefault(session.device_class, deque()).append(waiter)
            if lease is not None:
                return self._granted(lease)
            try:
                await asyncio.wait_for(waiter.future, max(0.0, deadline - loop.time()))
            except TimeoutError:
                return None
            finally:
                with self._lock, contextlib.suppress(ValueError):
                    self._waiting[session.device_class].remove(waiter)
        return None

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
        fault = None if reason == "Abandoned" else reason
        with self._lock:
            lease = self._book.find(lease_id)
            fate = self._book.fail(lease_id, fault)
        if lease is None or fate is Fate.STALE:
            return False
        self.metrics.failed.labels(reason).inc()
        log.warning(
            "task given back",
            task=lease.job.item.pending.task.id,
            holder=lease.holder,
            reason=reason,
            message=message,
        )
        kind = DiedInTask if reason == "DiedInTask" else TaskFailed
        self._after(lease, fate, kind(f"{reason}: {message}"))
        return True

    def complete(self, lease_id: str, message: Complete) -> bool:
        """A client program has uploaded its outputs; False if its lease has ended."""
        with self._lock:
            lease = self._book.complete(lease_id)
        if lease is None:
            self.metrics.stale.inc()
            return False
        wrong = self._wrong(lease, message)
        if wrong:
            self._refuse(lease, *wrong)
            return True
        accepted: dict[str, Result] = {}
        if not message.outputs:
            self._accept(lease, message, accepted)
        for name, output in message.outputs.items():
            task = Task(
                id=f"{lease.job.item.pending.task.id}/accept/{name}",
                kind="accept",
                client=CLOUD,
                params={
                    "upload": self._upload_key(lease, name),
                    "digest": output.sha256,
                    "elements": lease.job.item.expected.elements,
                },
            )
            self._cloud.submit(task).future.add_done_callback(
                partial(self._checked, lease, message, name, accepted)
            )
        return True

    # -- accepting -------------------------------------------------------------------------------

    def _wrong(self, lease: Lease[_Item], message: Complete) -> tuple[str, str] | None:
        """What is wrong with a result by its report alone: reason and message."""
        item = lease.job.item
        report = REPORTS.get(item.pending.task.kind, _Report())
        if sorted(message.outputs) != sorted(report.outputs):
            return "WrongOutputs", f"has {sorted(message.outputs)}, not {sorted(report.outputs)}"
        for name, output in message.outputs.items():
            if output.size != item.expected.size:
                return "WrongSize", f"{name} has {output.size} bytes, not {item.expected.size}"
        if item.expected.weight is not None and message.weight != item.expected.weight:
            return "WrongWeight", f"weighs {message.weight}, not {item.expected.weight}"
        missing = set(report.scalars) - set(message.scalars)
        if missing:
            return "WrongScalars", f"does not report {sorted(missing)}"
        return None

    def _checked(
        self,
        lease: Lease[_Item],
        message: Complete,
        name: str,
        accepted: dict[str, Result],
        future: Future[Result],
    ) -> None:
        """An ``accept`` task has ended, on a thread of the cloud's pool."""
        self._spent.append(self._upload_key(lease, name))
        if future.cancelled():
            return
        error = future.exception()
        match error:
            case Corrupt():
                self._refuse(lease, "WrongForm", str(error))
            case NotFound():
                self._refuse(lease, "NothingUploaded", str(error))
            case StoreError() | DiedInTask():  # no fault of the sender
                with self._lock:
                    fate = self._book.retry(lease)
                self._after(lease, fate, error)
            case BaseException():
                self._refuse(lease, "BadUpdate", str(error))
        if error is None:
            with self._lock:
                accepted[name] = future.result()
                complete = len(accepted) == len(message.outputs)
            if complete:
                self._accept(lease, message, accepted)

    def _accept(
        self, lease: Lease[_Item], message: Complete, accepted: Mapping[str, Result]
    ) -> None:
        item, now = lease.job.item, self._clock()
        with self._lock:
            counts = self._book.accept(lease)
            self._jobs.pop(id(item.pending), None)
        if not counts:
            self.metrics.stale.inc()
            return
        size = sum(output.size for output in message.outputs.values())
        self.metrics.accepted.inc()
        self.metrics.bytes_up.inc(size)
        self.metrics.bytes_down.inc(item.expected.size)
        self.metrics.task_seconds.observe(now - lease.given)
        log.info(
            "update accepted",
            task=item.pending.task.id,
            holder=lease.holder,
            seconds=round(now - lease.given, 3),
        )
        report = REPORTS.get(item.pending.task.kind, _Report())
        result = Result(
            outputs={name: done.outputs["weights"] for name, done in accepted.items()},
            scalars={**{name: message.scalars[name] for name in report.scalars}, "bytes": size},
            weight=message.weight,
            cost=message.cost,
        )
        with contextlib.suppress(InvalidStateError):
            item.pending.future.set_result(result)

    def _refuse(self, lease: Lease[_Item], reason: str, message: str) -> None:
        """An update is no good; the next client program gets its task."""
        self.metrics.rejected.labels(reason).inc()
        log.warning(
            "update rejected",
            task=lease.job.item.pending.task.id,
            holder=lease.holder,
            reason=reason,
            message=message,
        )
        with self._lock:
            fate = self._book.reject(lease)
        self._after(lease, fate, TaskFailed(f"{reason}: {message}"))

    def _after(self, lease: Lease[_Item], fate: Fate, error: FednasError) -> None:
        """A lease ended without a result: the task is there again, or has failed for good."""
        job = lease.job
        if fate is Fate.AGAIN:
            with self._lock:
                self._wake(job.device_class)
        elif fate is Fate.GIVEN_UP:
            pending = job.item.pending
            with self._lock:
                self._jobs.pop(id(pending), None)
            kind = DiedInTask if isinstance(error, DiedInTask) else TaskFailed
            with contextlib.suppress(InvalidStateError):
                pending.future.set_exception(
                    kind(f"{pending.task.id}: {ATTEMPTS} attempts failed, the last with: {error}")
                )

    # -- leasing ---------------------------------------------------------------------------------

    def _upload_key(self, lease: Lease[_Item], name: str) -> str:
        return f"{self._layout.uploads}{lease.id}/{name}"

    def _granted(self, lease: Lease[_Item]) -> Grant:
        """The task with leave to read its blobs and to write its outputs, and nothing else."""
        assert self._store is not None
        item, layout = lease.job.item, self._layout
        task = item.pending.task
        keys = {digest: layout.blobs + digest for digest in task.inputs.values()}
        keys |= {digest: layout.data + digest for digest in task.data.values()}
        uploads = {}
        for name in REPORTS.get(task.kind, _Report()).outputs:
            post = self._store.presigned_post(
                self._upload_key(lease, name), item.expected.size, URL_SECONDS
            )
            uploads[name] = Upload(url=post.url, fields=post.fields, max_bytes=item.expected.size)
        if not item.pending.started.done():
            item.pending.started.set_result(time.monotonic())
        self.metrics.leases.inc()
        return Grant(
            lease=lease.id,
            task=task,
            urls={d: self._store.presigned_get(key, URL_SECONDS) for d, key in keys.items()},
            uploads=uploads,
        )

    def _wake(self, device_class: str, *, everyone: bool = False) -> None:
        """Let one who waits for a task look again. Under the lock."""
        waiting = self._waiting.get(device_class)
        while waiting:
            waiting.popleft().wake()
            if not everyone:
                break

    def _tend(self) -> None:
        """Every second: end silent leases, let waiters look again."""
        while not self._closed.wait(1.0):
            with self._lock:
                ended = self._book.expire()
                for device_class in self._waiting:
                    for _ in range(self._book.queued(device_class)):
                        self._wake(device_class)
            for lease in ended:
                self.metrics.expired.inc()
                log.warning(
                    "lease expired", task=lease.job.item.pending.task.id, holder=lease.holder
                )

    def _sweep(self, store: MinioStore) -> None:
        """Remove uploads that were looked at, and those of an earlier life."""
        while not self._closed.wait(1.0):
            while self._spent:
                with contextlib.suppress(StoreError):
                    store.delete(self._spent[0])
                self._spent.popleft()

    # -- looking ---------------------------------------------------------------------------------

    def alive(self) -> dict[str, int]:
        """Client programs of each class that were heard of lately."""
        horizon = self._clock() - ALIVE_SECONDS
        counts = dict.fromkeys(self.device_classes.values(), 0)
        with self._lock:
            for session in self._sessions.values():
                if session.seen >= horizon:
                    counts[session.device_class] = counts.get(session.device_class, 0) + 1
        return counts

    def available(self) -> int:
        """Clients that a living client program serves and that are not benched."""
        alive = self.alive()
        with self._lock:
            benched = set(self._book.benched)
        return sum(
            alive[device_class] > 0 and client not in benched
            for client, device_class in self.device_classes.items()
        )

    def measure(self) -> None:
        """Set the gauges."""
        for device_class, count in self.alive().items():
            self.metrics.sessions.labels(device_class).set(count)
        with self._lock:
            for device_class in set(self.device_classes.values()):
                self.metrics.queue.labels(device_class).set(self._book.queued(device_class))
            self.metrics.working.set(self._book.leased())
            self.metrics.benched.set(len(self._book.benched))


@dataclass(eq=False)
class _Waiter:
    """A long poll that waits on its event loop."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]

    def wake(self) -> None:
        self.loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
