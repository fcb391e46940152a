"""Who works on what: the lease book, a state machine without threads, network or clock of its own.

    queued -> leased -> accepting -> done
       ^        |           |
       +--------+-----------+   lease expired, given back, worker died, update rejected

Jobs wait in a queue per device class, first come, first served. A lease lives as long as its
heartbeats. A job whose lease ends without a result goes back to the head of its queue, without
limit when its holder just went away, and at most `ATTEMPTS` times for each kind of fault.
"""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

__all__ = ["ATTEMPTS", "Fate", "Job", "Lease", "LeaseBook", "State"]

T = TypeVar("T")

ATTEMPTS = 3
"""Faults of one kind (worker died, task failed, update rejected) after which a job is given up,
and rejected updates after which whoever sent them is benched."""

STEP_ASIDE = 5.0
"""Seconds for which a job is kept for others than the holder who failed it."""


class State(Enum):
    """Where a job stands."""

    QUEUED = "queued"
    LEASED = "leased"
    ACCEPTING = "accepting"
    DONE = "done"


class Fate(Enum):
    """What became of a job whose lease ended without a result."""

    AGAIN = "again"
    GIVEN_UP = "given up"
    STALE = "stale"
    """Nothing: the lease was gone already."""


@dataclass(eq=False)
class Job(Generic[T]):
    """One piece of work of a federated client, to be done by any pod of its class."""

    item: T
    device_class: str
    client: str
    state: State = State.QUEUED
    lease: Lease[T] | None = None
    faults: Counter[str] = field(default_factory=Counter)
    failed_by: dict[str, float] = field(default_factory=dict)
    rejected_from: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Lease(Generic[T]):
    """A job in the hands of ``holder`` until ``expires``."""

    id: str
    job: Job[T]
    holder: str
    given: float
    expires: float


class LeaseBook(Generic[T]):
    """The book. Not thread-safe.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    ttl : float
        Seconds without a heartbeat after which a lease has ended.
    draw : callable
        Makes lease ids: 128 random bits in hex.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        ttl: float = 20.0,
        draw: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.ttl = ttl
        self.benched: set[str] = set()
        self.benched_holders: set[str] = set()
        self._clock = clock
        self._draw = draw
        self._queues: dict[str, deque[Job[T]]] = {}
        self._leases: dict[str, Lease[T]] = {}
        self._blame: Counter[str] = Counter()

    # -- work comes in and goes out --------------------------------------------------------------

    def add(self, item: T, device_class: str, client: str) -> Job[T]:
        """Queue a job."""
        job = Job(item, device_class, client)
        self._queues.setdefault(device_class, deque()).append(job)
        return job

    def cancel(self, job: Job[T]) -> None:
        """Nobody waits for it any more: its lease ends, a late result is stale."""
        if job.state is State.QUEUED:
            self._queues[job.device_class].remove(job)
        if job.lease is not None:
            self._leases.pop(job.lease.id, None)
        job.state, job.lease = State.DONE, None

    def lease(self, holder: str, device_class: str) -> Lease[T] | None:
        """The next job of the class for this holder, if there is one."""
        if holder in self.benched_holders:
            return None
        now, queue = self._clock(), self._queues.get(device_class, deque())
        for job in queue:
            if now - job.failed_by.get(holder, -STEP_ASIDE) >= STEP_ASIDE:
                queue.remove(job)
                lease = Lease(self._draw(), job, holder, now, now + self.ttl)
                self._leases[lease.id] = lease
                job.state, job.lease = State.LEASED, lease
                return lease
        return None

    # -- what holders say ------------------------------------------------------------------------

    def find(self, lease_id: str) -> Lease[T] | None:
        """The live lease of that id."""
        return self._leases.get(lease_id)

    def heartbeat(self, lease_id: str) -> bool:
        """Prolong; False if the lease has ended."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return False
        lease.expires = self._clock() + self.ttl
        return True

    def complete(self, lease_id: str) -> Lease[T] | None:
        """A result is there and is to be checked; None if the lease has ended: drop the result."""
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            lease.job.state = State.ACCEPTING
        return lease

    def fail(self, lease_id: str, fault: str | None, *, final: bool = False) -> Fate:
        """The holder gives up.

        Parameters
        ----------
        fault : str or None
            None where it is nobody's: told to stop.
        final : bool
            Whoever tried would fail alike.
        """
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return Fate.STALE
        if final:
            lease.job.faults[fault or ""] = ATTEMPTS
        return self._again(lease, fault)

    # -- what became of a result -----------------------------------------------------------------

    def accept(self, lease: Lease[T]) -> bool:
        """The result counts; False if it was cancelled meanwhile."""
        job = lease.job
        if job.state is not State.ACCEPTING or job.lease is not lease:
            return False
        job.state, job.lease = State.DONE, None
        # Another holder's result of the same task was good, so the bad ones were their senders'.
        for sender in job.rejected_from:
            if sender != lease.holder:
                self._blame[sender] += 1
                if self._blame[sender] >= ATTEMPTS:
                    self.benched_holders.add(sender)
        return True

    def reject(self, lease: Lease[T]) -> Fate:
        """The result is no good. Nobody could give a good one: the client is benched."""
        job = lease.job
        if job.state is not State.ACCEPTING or job.lease is not lease:
            return Fate.STALE
        job.rejected_from.append(lease.holder)
        fate = self._again(lease, "rejected")
        if fate is Fate.GIVEN_UP:
            self.benched.add(job.client)
        return fate

    def retry(self, lease: Lease[T]) -> Fate:
        """The result could not be checked, by no fault of its sender."""
        if lease.job.state is not State.ACCEPTING or lease.job.lease is not lease:
            return Fate.STALE
        return self._again(lease, "unchecked")

    # -- time and absence ------------------------------------------------------------------------

    def expire(self) -> list[Lease[T]]:
        """End the leases whose heartbeats have stopped; their jobs are queued again."""
        now = self._clock()
        ended = [lease for lease in self._leases.values() if lease.expires <= now]
        for lease in ended:
            del self._leases[lease.id]
            self._again(lease, None)
            lease.job.failed_by[lease.holder] = now
        return ended

    def release(self, holder: str) -> list[Lease[T]]:
        """End every lease of a holder that has gone away or started anew."""
        ended = [lease for lease in self._leases.values() if lease.holder == holder]
        for lease in ended:
            del self._leases[lease.id]
            self._again(lease, None)
        return ended

    # -- counts ----------------------------------------------------------------------------------

    def queued(self, device_class: str) -> int:
        """Jobs of a class that nobody works on."""
        return len(self._queues.get(device_class, ()))

    def leased(self) -> int:
        """Leases that live."""
        return len(self._leases)

    def _again(self, lease: Lease[T], fault: str | None) -> Fate:
        job = lease.job
        job.lease = None
        if fault is not None:
            job.faults[fault] += 1
            job.failed_by[lease.holder] = self._clock()
            if job.faults[fault] >= ATTEMPTS:
                job.state = State.DONE
                return Fate.GIVEN_UP
        job.state = State.QUEUED
        self._queues[job.device_class].appendleft(job)
        return Fate.AGAIN
