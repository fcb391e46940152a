"""What one search with many client pods costs the operator, in a simulated cluster.

    python bench/pods.py [--pods 1000]

The operator runs against the fake API server of its tests. Printed are passes, requests to the API
server and CPU seconds (the fake's own included) while all pods become ready, in a minute at rest,
and while the search is suspended.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from tests.unit.operator.cluster import World  # noqa: E402
from tests.unit.operator.simulation import RESOURCE  # noqa: E402


def pod_of(deployment: dict[str, Any], index: int) -> dict[str, Any]:
    """A running client."""
    template, name = deployment["spec"]["template"], deployment["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{index}",
            "namespace": deployment["metadata"]["namespace"],
            "uid": f"pod-{index}",
            "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "client", "ready": True, "restartCount": 0, "state": {"running": {}}}
            ],
        },
    }


async def measured(pods: int) -> None:
    resource = copy.deepcopy(RESOURCE)
    resource["spec"]["deviceClasses"][0] |= {"clients": pods, "pods": pods}
    world = World(resource=resource)
    await world.live(5)
    (phones,) = (one for name, one in world.children("Deployment").items() if "phone" in name)

    async def ready() -> None:
        for index in range(pods):
            world.api.put(pod_of(phones, index))
        await world.live(5)

    async def suspended() -> None:
        world.edit(suspend=True)
        await world.live(5)

    steps: dict[str, Callable[[], Awaitable[None]]] = {
        "ready": ready,
        "a minute at rest": lambda: world.live(60),
        "suspended": suspended,
    }
    for name, step in steps.items():
        passes, requests, began = world.passes, len(world.api.requests), time.process_time()
        await step()
        print(
            f"{name}: {world.passes - passes} passes, {len(world.api.requests) - requests} "
            f"requests, {time.process_time() - began:.3f} s of CPU"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=1000)
    asyncio.run(measured(parser.parse_args().pods))
