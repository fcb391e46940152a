from __future__ import annotations

import asyncio

from fednas_operator.queue import Key, WorkQueue

A, B = Key("ns", "a"), Key("ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def _next(queue: WorkQueue) -> Key | None:
    """The key that is due now, or None."""
    task = asyncio.ensure_future(queue.get())
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    return None


def test_a_key_added_twice_is_worked_on_once() -> None:
    async def scenario() -> None:
        queue = WorkQueue(Clock())
        queue.add(A)
        queue.add(A)
        assert await _next(queue) == A
        assert await _next(queue) is None

    asyncio.run(scenario())


def test_a_key_added_during_its_pass_is_worked_on_afterwards_and_by_nobody_else() -> None:
    async def scenario() -> None:
        queue = WorkQueue(Clock())
        queue.add(A)
        assert await _next(queue) == A
        queue.add(A)
        assert await _next(queue) is None
        queue.done(A, again=None)
        assert await _next(queue) == A

    asyncio.run(scenario())


def test_a_delayed_key_comes_when_it_is_due_or_earlier_by_an_event() -> None:
    async def scenario() -> None:
        clock = Clock()
        queue = WorkQueue(clock)
        queue.add(A, delay=300)
        queue.add(B, delay=5)
        assert await _next(queue) is None
        clock.now += 5
        assert await _next(queue) == B
        queue.add(A)
        assert await _next(queue) == A

    asyncio.run(scenario())


def test_failures_pause_a_key_ever_longer_and_events_do_not_shorten_that() -> None:
    async def scenario() -> None:
        clock = Clock()
        queue = WorkQueue(clock, backoff_cap=10)
        pauses = []
        for _ in range(12):
            queue.add(A)
            assert await _next(queue) == A
            pauses.append(queue.failed(A))
            queue.add(A)
            assert await _next(queue) is None
            clock.now += pauses[-1]
        assert pauses[0] <= 0.5
        assert 5 <= pauses[-1] <= 10
        queue.add(A)
        assert await _next(queue) == A
        queue.done(A, again=None)
        queue.add(A)
        assert await _next(queue) == A

    asyncio.run(scenario())


def test_the_lag_is_that_of_the_latest_key_waiting_or_under_way() -> None:
    async def scenario() -> None:
        clock = Clock()
        queue = WorkQueue(clock)
        queue.add(A)
        queue.add(B, delay=60)
        assert queue.lag() == 0
        clock.now += 30
        assert queue.lag() == 30
        assert await _next(queue) == A
        clock.now += 7
        assert queue.lag() == 7
        queue.done(A, again=None)
        assert queue.lag() == 0

    asyncio.run(scenario())
