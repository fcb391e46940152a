from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fednas_operator import names
from tests.unit.operator.cluster import KEY, Fault, World, faults
from tests.unit.operator.simulation import OVER, RUNNING

DELIVERED = OVER | {"tracking": {"pending": 0}}


async def running(**spec: Any) -> World:
    world = World(report=RUNNING)
    world.edit(**spec)
    await world.live(10)
    assert world.status["phase"] == "Searching"
    return world


def present(world: World) -> bool:
    return (names.KIND, *KEY) in world.api.objects


def test_a_search_that_runs_for_too_long_ends_and_all_its_children_go() -> None:
    async def scenario() -> None:
        world = await running(activeDeadlineSeconds=60)
        await world.live(45, step=0.5)
        assert world.status["phase"] == "Searching"
        await world.live(20, step=0.5)
        assert world.status["phase"] == "Failed"
        assert world.condition("Failed") == ("True", "DeadlineExceeded")
        assert "spec.activeDeadlineSeconds" in world.message("Failed")
        assert world.condition("Tracked") == ("False", "Interrupted")
        assert {key[0] for key in world.api.objects} == {names.KIND}

    asyncio.run(scenario())


def test_the_time_starts_anew_when_a_search_is_resumed() -> None:
    async def scenario() -> None:
        world = await running(activeDeadlineSeconds=60)
        await world.live(30, step=0.5)
        world.edit(suspend=True)
        await world.live(600, step=0.5)
        assert world.status["phase"] == "Suspended"
        world.edit(suspend=False)
        await world.live(50, step=0.5)
        assert world.status["phase"] == "Searching"
        await world.live(15, step=0.5)
        assert world.condition("Failed") == ("True", "DeadlineExceeded")

    asyncio.run(scenario())


def test_a_deadline_holds_for_a_search_whose_pods_never_start() -> None:
    async def scenario() -> None:
        world = World()
        world.edit(activeDeadlineSeconds=60)
        await world.live(65, step=0.5, nodes=False)
        assert world.condition("Failed") == ("True", "DeadlineExceeded")

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [None, 600])
def test_a_deadline_can_be_set_moved_and_taken_away(seconds: int | None) -> None:
    async def scenario() -> None:
        world = await running(activeDeadlineSeconds=60)
        world.edit(activeDeadlineSeconds=seconds)
        await world.live(100, step=0.5)
        assert world.status["phase"] == "Searching"
        world.edit(activeDeadlineSeconds=30)
        await world.live(2)
        assert world.condition("Failed") == ("True", "DeadlineExceeded")

    asyncio.run(scenario())


def test_a_search_that_ended_in_time_is_not_failed_by_its_deadline() -> None:
    async def scenario() -> None:
        world = await running(activeDeadlineSeconds=60)
        world.report = OVER
        await world.live(120, step=0.5)
        assert world.condition("Complete") == ("True", "Completed")
        assert world.status["phase"] == "Complete"

    asyncio.run(scenario())


def test_a_search_is_deleted_so_long_after_its_end() -> None:
    async def scenario() -> None:
        world = await running(ttlSecondsAfterFinished=700)
        world.report = DELIVERED
        await world.live(690, step=0.5)
        assert present(world)
        await world.live(15, step=0.5)
        assert not present(world)
        assert world.operators[0].known() == []

    asyncio.run(scenario())


def test_a_search_that_is_to_go_at_once_waits_until_mlflow_has_every_record() -> None:
    async def scenario() -> None:
        world = await running(ttlSecondsAfterFinished=0)
        world.report = OVER
        await world.live(60, step=0.5)
        assert present(world)
        world.report = DELIVERED
        await world.live(10)
        assert world.api.objects == {}

    asyncio.run(scenario())


def test_a_dead_mlflow_keeps_a_search_for_ten_minutes_only() -> None:
    async def scenario() -> None:
        world = await running(ttlSecondsAfterFinished=0)
        world.report = OVER
        await world.live(590, step=0.5)
        assert present(world)
        await world.live(20, step=0.5)
        assert world.api.objects == {}

    asyncio.run(scenario())


def test_a_coordinator_waits_a_day_for_a_dead_mlflow() -> None:
    async def scenario() -> None:
        world = await running()
        world.report = OVER
        await world.live(86_000, step=100)
        assert "Deployment" in {key[0] for key in world.api.objects}
        assert world.condition("Tracked") == ("False", "Pending")
        await world.live(1000, step=100)
        assert {key[0] for key in world.api.objects} == {names.KIND}
        assert world.condition("Tracked") == ("False", "GivenUp")

    asyncio.run(scenario())


def test_how_long_a_search_stays_can_change_after_its_end() -> None:
    async def scenario() -> None:
        world = await running()
        world.report = DELIVERED
        await world.live(1000, step=0.5)
        assert present(world)
        world.edit(ttlSecondsAfterFinished=2000)
        await world.live(10)
        assert present(world)
        world.edit(ttlSecondsAfterFinished=60)
        await world.live(2)
        assert not present(world)

    asyncio.run(scenario())


def test_a_search_edited_in_the_moment_of_its_deletion_stays() -> None:
    async def scenario() -> None:
        world = await running(ttlSecondsAfterFinished=60)
        world.report = DELIVERED
        await world.live(30)
        world.deaf = True
        world.edit(ttlSecondsAfterFinished=6000)
        world.deaf = False
        await world.live(60)
        assert present(world)

    asyncio.run(scenario())


def test_a_search_that_cannot_be_deleted_is_tried_ever_more_rarely() -> None:
    async def scenario() -> None:
        world = await running(ttlSecondsAfterFinished=0)
        refused = Fault(403, "Forbidden", "no")
        world.api.fault = faults((f"DELETE {names.KIND}", refused))
        world.report = DELIVERED
        await world.live(60)
        before = world.counted()
        await world.live(120)
        assert world.counted() - before <= 5 * 9
        world.api.fault = faults()
        await world.live(40)
        assert not present(world)

    asyncio.run(scenario())


def test_a_deadline_whose_status_is_held_back_makes_no_haste() -> None:
    """As while two operators write one status in turns."""

    async def scenario() -> None:
        world = await running()
        world.operators[0]._memories[KEY].contested = 10
        world.edit(activeDeadlineSeconds=1)
        asked = world.asked
        await world.live(30)
        assert world.status["phase"] == "Searching"
        assert world.asked - asked <= 70
        await world.live(40)
        assert world.condition("Failed") == ("True", "DeadlineExceeded")

    asyncio.run(scenario())
