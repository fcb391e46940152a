from __future__ import annotations

import asyncio
from typing import Any

from fednas_operator import names
from tests.unit.operator.cluster import KEY, Fault, World, faults
from tests.unit.operator.simulation import OVER, RUNNING

COORDINATOR = "two-classes-coordinator-0b1f2a"
PHONE = "two-classes-phone-0b1f2a"
DELIVERED = OVER | {"tracking": {"pending": 0}}


def told(world: World) -> list[tuple[str, str]]:
    """Type and reason of every event, in the order in which they came."""
    return [(event["type"], event["reason"]) for event in events(world)]


def events(world: World) -> list[Any]:
    return list(world.api.events.values())


async def running() -> World:
    world = World(report=RUNNING)
    await world.live(10)
    assert world.status["phase"] == "Searching"
    return world


def test_each_transition_of_a_life_is_told_once() -> None:
    async def scenario() -> None:
        world = await running()
        world.edit(suspend=True)
        await world.live(10)
        world.edit(suspend=False)
        await world.live(10)
        world.report = OVER
        await world.live(10)
        world.report = DELIVERED
        await world.live(310)
        assert told(world) == [
            ("Normal", "Accepted"),
            ("Normal", "Started"),
            ("Normal", "Suspended"),
            ("Normal", "Resumed"),
            ("Normal", "Completed"),
            ("Normal", "Deleted"),
            ("Normal", "Delivered"),
            ("Normal", "Deleted"),
        ]

    asyncio.run(scenario())


def test_what_is_in_the_way_is_told_with_its_reason_and_once_it_is_over() -> None:
    async def scenario() -> None:
        world = await running()
        before = len(told(world))
        store = {"reason": "StoreUnreachable", "message": "http://minio:9000: no answer"}
        world.report = RUNNING | {"degraded": store}
        await world.live(60)
        world.report = RUNNING | {"degraded": {"reason": "WaitingForClients", "message": "phone"}}
        await world.live(60)
        world.report = RUNNING
        await world.live(60)
        assert told(world)[before:] == [
            ("Warning", "StoreUnreachable"),
            ("Warning", "WaitingForClients"),
            ("Normal", "Recovered"),
        ]
        assert events(world)[before]["note"] == "http://minio:9000: no answer"

    asyncio.run(scenario())


def test_a_refused_spec_is_told_and_that_it_was_mended() -> None:
    async def scenario() -> None:
        world = World()
        world.edit(data={"source": "./digits"})
        await world.live(310)
        assert told(world) == [("Warning", "LocalPath")]
        world.edit(data={"source": "digits"})
        await world.live(310)
        assert told(world)[1:3] == [("Normal", "Accepted"), ("Normal", "Started")]

    asyncio.run(scenario())


def test_a_failed_search_is_told_as_a_warning() -> None:
    async def scenario() -> None:
        world = await running()
        world.report = OVER | {"failed": True, "reason": "QuorumMissed", "message": "thrice"}
        await world.live(10)
        assert ("Warning", "QuorumMissed") in told(world)

    asyncio.run(scenario())


def test_a_child_deleted_by_hand_is_told_with_its_name() -> None:
    async def scenario() -> None:
        world = await running()
        before = len(told(world))
        world.api.delete("Deployment", KEY.namespace, PHONE)
        await world.live(10)
        assert told(world)[before:] == [("Warning", "Restored")]
        assert f"Deployment {PHONE}" in events(world)[before]["note"]

    asyncio.run(scenario())


def test_a_policy_changed_by_hand_is_told() -> None:
    async def scenario() -> None:
        world = await running()
        before = len(told(world))
        policy = world.children("NetworkPolicy")["two-classes-deny-0b1f2a"]
        world.api.put({**policy, "spec": {**policy["spec"], "ingress": [{}]}})
        await world.live(310)
        assert told(world)[before:] == [("Normal", "Repaired")]

    asyncio.run(scenario())


def test_a_defect_is_told() -> None:
    async def scenario() -> None:
        world = await running()
        refused = iter([Fault(422, "Invalid", "status.rounds: too large")])
        world.api.fault = lambda call: next(refused, None) if call.sub == "status" else None
        world.report = RUNNING | {"status": RUNNING["status"] | {"iteration": 3}}
        await world.live(20)
        assert told(world)[2:] == [("Warning", "InternalError"), ("Normal", "Recovered")]

    asyncio.run(scenario())


def test_an_event_is_what_the_api_server_takes() -> None:
    async def scenario() -> None:
        world = await running()
        event = events(world)[0]
        assert event["apiVersion"] == "events.k8s.io/v1"
        assert event["metadata"]["namespace"] == KEY.namespace
        assert event["regarding"]["uid"] == world.search["metadata"]["uid"]
        assert event["regarding"]["kind"] == names.KIND
        assert event["eventTime"].endswith("Z")
        needed = ("reportingController", "reportingInstance", "action", "note")
        assert all(0 < len(event[field]) <= 128 for field in needed)

    asyncio.run(scenario())


def test_events_that_are_refused_or_lost_change_nothing() -> None:
    async def scenario(fault: Fault | None) -> Any:
        world = World(report=RUNNING)
        if fault is not None:
            world.api.fault = faults(("POST Event", fault))
        await world.live(10)
        calls = [str(call) for call in world.api.requests if call.kind != "Event"]
        return calls, world.status["phase"], world.condition("Degraded")

    undisturbed = asyncio.run(scenario(None))
    for fault in (Fault(403, "Forbidden", "no"), Fault(500, "InternalError"), Fault(0)):
        assert asyncio.run(scenario(fault)) == undisturbed


def test_an_api_server_that_never_answers_to_an_event_holds_no_pass() -> None:
    async def scenario() -> None:
        world = World(report=RUNNING)
        call = world.api.call_api

        async def hanging(request: dict[str, Any], _request_timeout: Any) -> Any:
            if request["resource_path"].endswith("/events"):
                await asyncio.sleep(3600)
            return await call(request, _request_timeout)

        world.api.call_api = hanging  # type: ignore[method-assign]
        async with asyncio.timeout(10):
            await world.live(1)
        assert COORDINATOR in world.children("Deployment")

    asyncio.run(scenario())
