from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from fednas.fleet._leases import ATTEMPTS, STEP_ASIDE, Fate, Job, Lease, LeaseBook, State


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[LeaseBook[str], Clock]:
    clock = Clock()
    return LeaseBook(clock=clock, ttl=20), clock


def take(book: LeaseBook[str], holder: str = "a", device_class: str = "phone") -> Lease[str]:
    lease = book.lease(holder, device_class)
    assert lease is not None
    return lease


def done(book: LeaseBook[str], lease: Lease[str]) -> Lease[str]:
    assert book.complete(lease.id) is lease
    return lease


def test_jobs_are_leased_in_order_and_to_their_class_alone() -> None:
    book, _ = make()
    for number in range(3):
        book.add(f"task-{number}", "phone", f"phone-{number}")
    assert book.lease("a", "hub") is None
    assert [take(book).job.item for _ in range(3)] == ["task-0", "task-1", "task-2"]
    assert book.lease("a", "phone") is None
    assert (book.queued("phone"), book.leased()) == (0, 3)


def test_lease_ids_are_random_128_bits() -> None:
    book, _ = make()
    for number in range(2):
        book.add("task", "phone", f"phone-{number}")
    first, second = take(book), take(book)
    assert first.id != second.id
    assert len(bytes.fromhex(first.id)) == 16


def test_a_completed_job_counts_once() -> None:
    book, _ = make()
    job = book.add("task", "phone", "phone-0")
    lease = take(book)
    assert book.complete(lease.id) is lease
    assert book.complete(lease.id) is None
    assert book.accept(lease)
    assert not book.accept(lease)
    assert job.state is State.DONE


def test_a_lease_lives_by_its_heartbeats() -> None:
    book, clock = make()
    book.add("task", "phone", "phone-0")
    lease = take(book)
    for _ in range(5):
        clock.now += 19
        assert book.heartbeat(lease.id)
        assert book.expire() == []
    clock.now += 20
    assert book.expire() == [lease]
    assert not book.heartbeat(lease.id)


def test_a_result_after_the_lease_ended_is_dropped() -> None:
    book, clock = make()
    book.add("task", "phone", "phone-0")
    late = take(book)
    clock.now += 20
    book.expire()
    again = take(book, "b")
    assert again.job is late.job
    assert book.complete(late.id) is None
    assert book.fail(late.id, "DiedInTask") is Fate.STALE
    assert book.accept(done(book, again))


def test_lost_jobs_go_first_and_without_limit() -> None:
    book, clock = make()
    book.add("lost", "phone", "phone-0")
    book.add("next", "phone", "phone-1")
    for _ in range(4 * ATTEMPTS):
        assert take(book).job.item == "lost"
        clock.now += 20
        assert len(book.expire()) == 1
        clock.now += STEP_ASIDE


def test_a_job_that_fails_again_and_again_is_given_up() -> None:
    book, clock = make()
    job = book.add("task", "phone", "phone-0")
    fates = []
    for _ in range(ATTEMPTS):
        fates.append(book.fail(take(book).id, "DiedInTask"))
        clock.now += STEP_ASIDE
    assert fates == [Fate.AGAIN] * (ATTEMPTS - 1) + [Fate.GIVEN_UP]
    assert job.state is State.DONE
    assert book.lease("a", "phone") is None


def test_giving_back_is_no_fault() -> None:
    book, _ = make()
    book.add("task", "phone", "phone-0")
    for _ in range(2 * ATTEMPTS):
        assert book.fail(take(book).id, None) is Fate.AGAIN


def test_who_failed_a_job_steps_aside_for_others() -> None:
    book, clock = make()
    book.add("task", "phone", "phone-0")
    book.fail(take(book, "a").id, "TaskFailed")
    assert book.lease("a", "phone") is None
    assert take(book, "b").job.item == "task"
    book.release("b")
    clock.now += STEP_ASIDE
    assert take(book, "a").job.item == "task"


def test_a_client_without_a_good_update_is_benched() -> None:
    book, clock = make()
    book.add("task", "phone", "phone-0")
    fates = []
    for _ in range(ATTEMPTS):
        fates.append(book.reject(done(book, take(book))))
        clock.now += STEP_ASIDE
    assert fates[-1] is Fate.GIVEN_UP
    assert book.benched == {"phone-0"}
    assert book.benched_holders == set()


def test_a_holder_whose_updates_others_gave_right_is_benched() -> None:
    book, _ = make()
    for number in range(ATTEMPTS):
        book.add("task", "phone", f"phone-{number}")
        assert book.reject(done(book, take(book, "bad"))) is Fate.AGAIN
        assert book.accept(done(book, take(book, "good")))
    assert book.benched_holders == {"bad"}
    assert book.benched == set()
    book.add("task", "phone", "phone-9")
    assert book.lease("bad", "phone") is None
    assert take(book, "good")


def test_cancelled_work_is_never_counted() -> None:
    book, _ = make()
    queued, leased, accepting = (book.add(n, "phone", n) for n in ("c", "a", "b"))
    book.cancel(queued)
    first, second = take(book), take(book)
    assert (first.job, second.job) == (leased, accepting)
    done(book, second)
    book.cancel(leased)
    book.cancel(accepting)
    assert book.complete(first.id) is None
    assert not book.accept(second)
    assert book.reject(second) is Fate.STALE
    assert book.retry(second) is Fate.STALE
    assert (book.queued("phone"), book.leased()) == (0, 0)


def test_a_holder_that_starts_anew_loses_its_leases_at_once() -> None:
    book, _ = make()
    for number in range(2):
        book.add(f"task-{number}", "phone", f"phone-{number}")
    mine, others = take(book, "a"), take(book, "b")
    assert book.release("a") == [mine]
    assert take(book, "a").job is mine.job
    assert book.find(others.id) is others


class AnyOrder(RuleBasedStateMachine):
    """Whatever holders say in whatever order: a job is accepted at most once and never lost."""

    leases = Bundle("leases")
    completed = Bundle("completed")
    holders = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.book, self.clock = make()
        self.jobs: list[Job[str]] = []
        self.accepted: Counter[Job[str]] = Counter()

    @rule()
    def add(self) -> None:
        self.jobs.append(self.book.add("task", "phone", f"phone-{len(self.jobs)}"))

    @rule(target=leases, holder=holders)
    def lease(self, holder: str) -> Lease[str] | None:
        return self.book.lease(holder, "phone")

    @rule(target=completed, lease=leases)
    def complete(self, lease: Lease[str] | None) -> Lease[str] | None:
        return self.book.complete(lease.id) if lease else None

    @rule(lease=completed)
    def accept(self, lease: Lease[str] | None) -> None:
        if lease and self.book.accept(lease):
            self.accepted[lease.job] += 1

    @rule(lease=completed)
    def reject(self, lease: Lease[str] | None) -> None:
        if lease:
            self.book.reject(lease)

    @rule(lease=leases, fault=st.sampled_from([None, "TaskFailed", "DiedInTask"]))
    def fail(self, lease: Lease[str] | None, fault: str | None) -> None:
        if lease:
            self.book.fail(lease.id, fault)

    @rule(seconds=st.integers(0, 30))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.book.expire()

    @rule(holder=holders)
    def release(self, holder: str) -> None:
        self.book.release(holder)

    @invariant()
    def counted_once_and_never_lost(self) -> None:
        assert all(count == 1 for count in self.accepted.values())
        states = Counter(job.state for job in self.jobs)
        assert self.book.queued("phone") == states[State.QUEUED]
        assert self.book.leased() == states[State.LEASED]
        for job in self.jobs:
            assert (job.lease is not None) == (job.state in (State.LEASED, State.ACCEPTING))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=30)


def test_a_fault_that_whoever_tries_would_have_is_final() -> None:
    book, _ = make()
    job = book.add("task", "phone", "phone-0")
    assert book.fail(take(book).id, "TrainingDiverged", final=True) is Fate.GIVEN_UP
    assert job.state is State.DONE
    assert book.lease("b", "phone") is None
