"""Whose time runs when: on a loop whose clock jumps to the next timer, so that no test waits."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from fednas.errors import StoreUnreachable, TaskFailed
from fednas.federation import Gathering
from fednas.work import Pending, Task, TaskDone
from tests.unit.federation.fleets import CLASSES, SILENT, WAITING, ScriptedFleet, result

T = TypeVar("T")
TIMEOUT = 100.0


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Waits for nothing but what other threads have under way; else time jumps."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        ready = super().select(0.02)  # a thread may be about to wake the loop
        if not ready and timeout is not None:
            self.now += timeout
        return ready


def play(scenario: Coroutine[Any, Any, T]) -> T:
    selector = _Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scenario)


def tasks(*clients: str) -> list[Task]:
    return [Task(id=f"1/{client}", kind="train", client=client) for client in clients]


def gathering(fleet: Any, done: list[TaskDone] | None = None) -> Gathering:
    told = [] if done is None else done
    return Gathering(fleet, CLASSES, timeout=TIMEOUT, on_done=told.append)


def finish(pending: Pending) -> None:
    pending.future.set_result(result(pending.task))


def test_before_a_task_is_taken_no_time_runs() -> None:
    fleet = ScriptedFleet(lambda task: WAITING)

    async def scenario() -> tuple[bool, set[str]]:
        waiting = asyncio.ensure_future(gathering(fleet).all(tasks("a", "b")))
        await asyncio.sleep(50 * TIMEOUT)
        patient = not waiting.done()
        for pending in fleet.pending.values():
            pending.started.set_result(0.0)
        await asyncio.sleep(0)
        finish(fleet.pending["b"])
        results, _ = await waiting
        return patient, set(results)

    assert play(scenario()) == (True, {"b"})


def test_a_task_that_was_taken_has_its_own_time() -> None:
    fleet = ScriptedFleet(lambda task: SILENT if task.client == "a" else WAITING)

    async def scenario() -> tuple[float, set[str]]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        waiting = asyncio.ensure_future(gathering(fleet).all(tasks("a", "b")))
        await asyncio.sleep(0.8 * TIMEOUT)
        fleet.pending["b"].started.set_result(0.0)
        await asyncio.sleep(0.8 * TIMEOUT)
        finish(fleet.pending["b"])  # 1.6 timeouts after the round began, 0.8 after its own start
        results, _ = await waiting
        return loop.time() - begun, set(results)

    took, got = play(scenario())
    assert got == {"b"}
    assert took < 2 * TIMEOUT


def test_a_slow_class_that_works_through_its_queue_loses_nothing() -> None:
    fleet = ScriptedFleet(lambda task: WAITING if CLASSES[task.client] == "slow" else None)

    async def scenario() -> set[str]:
        waiting = asyncio.ensure_future(gathering(fleet).all(tasks("a", "b", "c", "d", "e")))
        for client in "de":  # one pod: a task after the other, each almost as long as it may take
            await asyncio.sleep(0.9 * TIMEOUT)
            fleet.pending[client].started.set_result(0.0)
            await asyncio.sleep(0.9 * TIMEOUT)
            finish(fleet.pending[client])
        results, _ = await waiting
        return set(results)

    assert play(scenario()) == set("abcde")


def test_a_queue_moves_also_where_it_works_for_another_round() -> None:
    fleet = ScriptedFleet(lambda task: WAITING)

    async def scenario() -> set[str]:
        both = gathering(fleet)
        other = asyncio.ensure_future(both.all(tasks("d")))
        await asyncio.sleep(1)
        first = fleet.pending["d"]
        first.started.set_result(0.0)
        mine = asyncio.ensure_future(both.all(tasks("a", "e")))
        await asyncio.sleep(1)
        finish(fleet.pending["a"])
        await asyncio.sleep(0.9 * TIMEOUT)
        finish(first)
        await other
        await asyncio.sleep(0.9 * TIMEOUT)  # e has waited for 1.8 timeouts, its class moved at 0.9
        finish(fleet.pending["e"])
        results, _ = await mine
        return set(results)

    assert play(scenario()) == {"a", "e"}


def test_a_queue_moves_when_one_of_its_tasks_is_taken() -> None:
    fleet = ScriptedFleet(lambda task: WAITING)

    async def scenario() -> set[str]:
        both = gathering(fleet)
        other = asyncio.ensure_future(both.all(tasks("d")))
        mine = asyncio.ensure_future(both.all(tasks("a", "e")))
        await asyncio.sleep(1)
        finish(fleet.pending["a"])
        await asyncio.sleep(0.9 * TIMEOUT)
        fleet.pending["d"].started.set_result(0.0)  # and is not done before e is
        await asyncio.sleep(0.9 * TIMEOUT)
        finish(fleet.pending["e"])
        results, _ = await mine
        other.cancel()
        return set(results)

    assert play(scenario()) == {"a", "e"}


def test_a_class_that_nobody_serves_does_not_hold_up_a_round() -> None:
    fleet = ScriptedFleet(lambda task: WAITING if CLASSES[task.client] == "slow" else None)

    async def scenario() -> tuple[float, set[str]]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        results, _ = await gathering(fleet).all(tasks("a", "d", "e"))
        return loop.time() - begun, set(results)

    took, got = play(scenario())
    assert got == {"a"}
    assert TIMEOUT <= took < 1.1 * TIMEOUT
    assert sorted(fleet.cancelled) == ["d", "e"]


def test_each_end_is_told_and_failures_are_kept_apart() -> None:
    fleet = ScriptedFleet(lambda task: TaskFailed("no") if task.client == "b" else None)
    done: list[TaskDone] = []
    results, failures = play(gathering(fleet, done).all(tasks("a", "b")))
    assert set(results) == {"a"}
    assert set(failures) == {"b"}
    assert {(event.task.client, event.reason) for event in done} == {
        ("a", None),
        ("b", "TaskFailed: no"),
    }


def test_what_is_no_clients_fault_is_not_waited_out_where_it_comes_late() -> None:
    fleet = ScriptedFleet(lambda task: SILENT)

    async def scenario() -> tuple[float, BaseException | None]:
        loop = asyncio.get_running_loop()
        waiting = asyncio.ensure_future(gathering(fleet).all(tasks("a", "b", "c")))
        await asyncio.sleep(0.5 * TIMEOUT)
        fleet.pending["a"].future.set_exception(TaskFailed("no"))
        fleet.pending["b"].future.set_exception(StoreUnreachable("no answer"))
        await asyncio.wait([waiting])
        return loop.time(), waiting.exception()

    took, error = play(scenario())
    assert isinstance(error, StoreUnreachable)
    assert took < 0.6 * TIMEOUT
    assert fleet.cancelled == ["c"]


def test_tasks_before_one_that_cannot_be_submitted_are_cancelled() -> None:
    def unreadable(task: Task) -> object:
        if task.client == "c":
            raise StoreUnreachable("its shard")
        return WAITING

    fleet = ScriptedFleet(unreadable)
    with pytest.raises(StoreUnreachable, match="its shard"):
        play(gathering(fleet).all(tasks("a", "b", "c", "d")))
    assert fleet.cancelled == ["a", "b"]
    assert len(fleet.submitted) == 3


def test_a_round_that_is_given_up_while_it_submits_leaves_no_task_behind() -> None:
    slow, going_on = threading.Event(), threading.Event()

    def said(task: Task) -> object:
        if task.client == "b":
            slow.set()
            assert going_on.wait(10)
        return WAITING

    fleet = ScriptedFleet(said)

    async def scenario() -> None:
        waiting = asyncio.ensure_future(gathering(fleet).all(tasks("a", "b", "c")))
        await asyncio.to_thread(slow.wait, 10)
        waiting.cancel()
        await asyncio.wait([waiting])
        going_on.set()

    asyncio.run(scenario())  # joins the thread that submits
    assert set(fleet.cancelled) == {"a", "b"}
    assert len(fleet.submitted) == 2
