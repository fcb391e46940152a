"""A whole life of a search, with each single call of the operator disturbed in turn."""

from __future__ import annotations

import asyncio
import copy
import json
import os
from typing import Any

import pytest

from fednas_operator import names
from tests.unit.operator.cluster import KEY, Fault, Killed, World
from tests.unit.operator.simulation import OVER, RUNNING

FAULTS = {
    "409": Fault(409, "Conflict", "the object has been modified"),
    "403": Fault(403, "Forbidden", "exceeded quota: small"),
    "429": Fault(429, "TooManyRequests", "slow down"),
    "500": Fault(500, "InternalError", "etcdserver: request timed out"),
    "no answer": Fault(0),
    "no answer, but done": Fault(0, done=True),
    "killed before": Fault(-1),
    "killed after": Fault(-1, done=True),
}


async def life(world: World) -> tuple[Any, Any]:
    """What there is in the middle, and at the end."""
    world.report = RUNNING
    await lived(world, 12)
    middle = seen(world)
    world.edit(suspend=True)
    await lived(world, 12)
    world.edit(suspend=False)
    await lived(world, 12)
    world.report = OVER
    await lived(world, 12)
    world.report = OVER | {"tracking": {"pending": 0}}
    await lived(world, 12)
    return middle, seen(world)


async def lived(world: World, seconds: float) -> None:
    """Whoever kills the operator, its Deployment starts it again."""
    end = world.now + seconds
    while world.now < end:
        try:
            await world.live(end - world.now, step=0.5)
        except Killed:
            world.kill()


def seen(world: World) -> Any:
    """All objects, without what differs from run to run."""
    objects = copy.deepcopy(world.api.objects)
    for item in objects.values():
        del item["metadata"]["resourceVersion"]
        status = item.get("status") or {}
        status.pop("startTime", None)
        for condition in status.get("conditions") or ():
            del condition["lastTransitionTime"]
    return json.loads(json.dumps({str(key): item for key, item in objects.items()}))


def undisturbed() -> tuple[tuple[Any, Any], int]:
    world = World()
    result = asyncio.run(life(world))
    return result, world.counted()


@pytest.fixture(scope="module")
def golden() -> tuple[tuple[Any, Any], int]:
    found, count = undisturbed()
    assert len(found[0]) == 12  # the search and its children
    assert list(found[1]) == [str((names.KIND, *KEY))]
    assert found[1][str((names.KIND, *KEY))]["status"]["phase"] == "Complete"
    return found, count


@pytest.mark.parametrize("which", FAULTS)
def test_any_call_may_fail_and_the_operator_be_killed_at_any(
    golden: tuple[tuple[Any, Any], int], which: str
) -> None:
    """Each fault at every eighth call, and each call by one fault; all by all on request."""
    expected, count = golden
    every = 1 if os.environ.get("FEDNAS_EVERY_CALL") else len(FAULTS)
    for nth in range(list(FAULTS).index(which) % every, count, every):
        world = World()
        world.api.fault = once(world, nth, FAULTS[which])
        assert asyncio.run(life(world)) == expected, f"call {nth}: {world.api.requests[nth]}"


def once(world: World, nth: int, fault: Fault) -> Any:
    return lambda request: fault if len(world.api.requests) == nth + 1 else None
