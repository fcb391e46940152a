from __future__ import annotations

import asyncio
import copy
import json
import os
from typing import Any

import pytest

from fednas_operator.settings import Defaults
from tests.unit.operator.cluster import Fault, Killed, World, faults
from tests.unit.operator.simulation import RUNNING

COORDINATOR = "two-classes-coordinator-0b1f2a"
PHONE = "two-classes-phone-0b1f2a"
HUB = "two-classes-hub-0b1f2a"
MOVED = {"endpoint": "http://moved:9100", "bucket": "other", "secretName": "new-bucket"}
NODES = {"nodeSelector": {"zone": "a"}}


async def suspended(**spec: Any) -> World:
    world = World(report=RUNNING)
    world.edit(**spec)
    await world.live(10)
    world.edit(suspend=True)
    await world.live(10)
    assert world.condition("Suspended") == ("True", "Suspended")
    return world


async def resumed(world: World) -> World:
    world.edit(suspend=False)
    await world.live(10)
    assert world.status["phase"] == "Searching"
    assert {item["spec"]["replicas"] for item in world.children("Deployment").values()} == {1, 2}
    return world


def frozen(world: World) -> Any:
    return json.loads(world.children("ConfigMap")[COORDINATOR]["data"]["search.json"])["spec"]


def pod(world: World, name: str) -> Any:
    return world.children("Deployment")[name]["spec"]["template"]["spec"]


def classes(world: World, **phone: Any) -> list[Any]:
    found = copy.deepcopy(world.search["spec"]["deviceClasses"])
    found[0] |= phone
    return found


def ports(world: World, policy: str) -> set[int]:
    spec = world.children("NetworkPolicy")[policy]["spec"]
    return {port["port"] for rule in spec["egress"] for port in rule["ports"]}


def test_a_store_that_has_moved_is_followed_by_all_that_reach_it() -> None:
    async def scenario() -> None:
        world = await suspended()
        world.edit(storage=MOVED)
        await world.live(10)
        assert frozen(world)["storage"] == MOVED
        await resumed(world)
        variable = pod(world, COORDINATOR)["containers"][0]["env"][2]
        assert variable["valueFrom"]["secretKeyRef"]["name"] == "new-bucket"
        for policy in ("two-classes-coordinator-0b1f2a", "two-classes-clients-0b1f2a"):
            assert 9100 in ports(world, policy)
            assert 9000 not in ports(world, policy)

    asyncio.run(scenario())


def test_an_mlflow_that_has_moved_and_is_given_up_is_followed() -> None:
    async def scenario() -> None:
        world = await suspended()
        world.edit(tracking={"uri": "http://moved:5100", "experiment": "fednas"})
        await resumed(world)
        assert frozen(world)["tracking"]["uri"] == "http://moved:5100"
        assert 5100 in ports(world, COORDINATOR)

    asyncio.run(scenario())


def test_a_request_that_was_too_high_is_lowered_and_another_class_stays_as_it_is() -> None:
    async def scenario() -> None:
        world = await suspended()
        hub = copy.deepcopy(pod(world, HUB))
        limits = {"limits": {"cpu": "250m", "memory": "600Mi"}}
        world.edit(deviceClasses=classes(world, resources=limits))
        await resumed(world)
        assert pod(world, PHONE)["containers"][0]["resources"]["requests"]["memory"] == "600Mi"
        assert pod(world, HUB) == hub

    asyncio.run(scenario())


def test_where_pods_run_can_be_given_and_taken_away() -> None:
    async def scenario() -> None:
        world = await suspended()
        world.edit(deviceClasses=classes(world, template=NODES), coordinator={"template": NODES})
        await resumed(world)
        assert pod(world, PHONE)["nodeSelector"] == {"zone": "a"}
        assert pod(world, COORDINATOR)["nodeSelector"] == {"zone": "a"}
        world.edit(suspend=True)
        await world.live(10)
        world.edit(deviceClasses=classes(world, template=None), coordinator={})
        await resumed(world)
        assert "nodeSelector" not in pod(world, PHONE)
        assert "nodeSelector" not in pod(world, COORDINATOR)

    asyncio.run(scenario())


def test_what_is_changed_and_resumed_in_one_edit_is_taken_up_first() -> None:
    async def scenario() -> None:
        world = await suspended()
        world.edit(storage=MOVED, suspend=False)
        scaled = []
        for _ in range(100):
            await world.live(0.1)
            if any(item["spec"]["replicas"] for item in world.children("Deployment").values()):
                scaled.append(frozen(world)["storage"]["bucket"])
        assert set(scaled) == {"other"}
        assert world.status["phase"] == "Searching"

    asyncio.run(scenario())


def test_new_defaults_and_images_of_the_chart_are_not_taken_up() -> None:
    async def scenario() -> None:
        world = await suspended()
        before = frozen(world)
        other = world.settings.model_copy(
            update={
                "defaults": Defaults(storage=MOVED),
                "image": world.settings.image.model_copy(update={"name": "other:2"}),
            }
        )
        world.kill(other)
        await world.live(10)
        assert frozen(world) == before
        world.edit(coordinator={"template": NODES})
        await resumed(world)
        assert frozen(world)["storage"] == before["storage"]
        assert frozen(world)["tracking"] == before["tracking"]
        names = {pod(world, name)["containers"][0]["image"] for name in (COORDINATOR, PHONE, HUB)}
        assert names == {"registry.example/fednas-runtime:0.1.0"}

    asyncio.run(scenario())


def test_what_would_change_the_result_is_never_taken_up() -> None:
    """The API server lets no such edit through; the operator does not rely on it."""

    async def scenario() -> None:
        world = await suspended()
        world.edit(storage=MOVED, seed=7, target={"macs": {"share": 0.1}})
        await world.live(10)
        assert frozen(world)["storage"] == MOVED
        assert frozen(world)["seed"] == 0
        assert frozen(world)["target"] == {"macs": {"share": 0.5}}

    asyncio.run(scenario())


def test_a_running_search_takes_nothing_up() -> None:
    async def scenario() -> None:
        world = World(report=RUNNING)
        await world.live(10)
        before = frozen(world)
        world.edit(storage=MOVED)
        await world.live(310, step=0.5)
        assert frozen(world) == before

    asyncio.run(scenario())


def test_a_change_that_cannot_be_run_is_told_and_nothing_starts_before_it_is_mended() -> None:
    async def scenario() -> None:
        world = await suspended()
        uri = world.settings.defaults.tracking
        assert uri is not None
        world.kill(world.settings.model_copy(update={"allowed_endpoints": ("http://minio:9000",)}))
        world.edit(storage=MOVED, suspend=False)
        await world.live(10)
        assert world.condition("Degraded") == ("True", "EndpointNotAllowed")
        assert world.condition("Accepted") == ("True", "Accepted")
        assert {item["spec"]["replicas"] for item in world.children("Deployment").values()} == {0}
        world.edit(storage=MOVED | {"endpoint": "http://minio:9000"})
        await world.live(10)
        assert world.status["phase"] == "Searching"

    asyncio.run(scenario())


def test_it_is_told_once_and_as_nothing_else() -> None:
    async def scenario() -> None:
        world = await suspended()
        before = len(world.api.events)
        world.edit(storage=MOVED)
        await world.live(310, step=0.5)
        reasons = [event["reason"] for event in world.api.events.values()]
        assert reasons[before:] == ["Adjusted"]

    asyncio.run(scenario())


def test_a_suspended_search_that_nobody_changes_costs_nothing() -> None:
    async def scenario() -> None:
        world = await suspended(coordinator={"template": NODES})
        before = world.counted()
        await world.live(200, step=0.5)
        assert world.counted() == before

    asyncio.run(scenario())


FAULTS = {
    "403": Fault(403, "Forbidden", "exceeded quota: small"),
    "500": Fault(500, "InternalError", "etcdserver: request timed out"),
    "no answer, but done": Fault(0, done=True),
    "killed before": Fault(-1),
    "killed after": Fault(-1, done=True),
}


async def change(fault: Fault | None, nth: int) -> tuple[Any, int]:
    """A store that moves and a template that is taken away, with one call disturbed."""
    world = await suspended(coordinator={"template": NODES})
    begun = world.counted()
    world.api.fault = lambda call: fault if len(world.api.requests) == begun + nth + 1 else None
    world.edit(storage=MOVED, coordinator={}, deviceClasses=classes(world, template=NODES))
    await lived(world, 40)
    world.edit(suspend=False)
    await lived(world, 40)
    objects = {str(key): copy.deepcopy(item) for key, item in world.api.objects.items()}
    for item in objects.values():
        del item["metadata"]["resourceVersion"]
        item.pop("status", None)
    return objects, world.counted() - begun


async def lived(world: World, seconds: float) -> None:
    end = world.now + seconds
    while world.now < end:
        try:
            await world.live(end - world.now, step=0.5)
        except Killed:
            world.kill()


@pytest.mark.parametrize("which", FAULTS)
def test_any_call_of_it_may_fail_and_the_operator_be_killed_at_any(which: str) -> None:
    """Each fault at every fifth call, and each call by one fault; all by all on request."""
    expected, count = asyncio.run(change(None, -1))
    text = expected["('ConfigMap', 'team', 'two-classes-coordinator-0b1f2a')"]["data"]
    assert json.loads(text["search.json"])["spec"]["storage"] == MOVED
    assert "template" not in json.loads(text["search.json"])["spec"]["coordinator"]
    every = 1 if os.environ.get("FEDNAS_EVERY_CALL") else len(FAULTS)
    for nth in range(list(FAULTS).index(which) % every, count, every):
        assert asyncio.run(change(FAULTS[which], nth))[0] == expected, nth


def test_a_refused_replacement_keeps_the_search_from_going_on_as_it_was() -> None:
    async def scenario() -> None:
        world = await suspended()
        world.api.fault = faults(("PUT Deployment", Fault(403, "Forbidden", "no")))
        world.edit(storage=MOVED, suspend=False)
        await world.live(30)
        assert world.condition("Degraded") == ("True", "ActionRefused")
        assert {item["spec"]["replicas"] for item in world.children("Deployment").values()} == {0}

    asyncio.run(scenario())
