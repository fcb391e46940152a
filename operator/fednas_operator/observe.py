"""Read the world afresh: the resource, its children, and what its coordinator says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime

from . import names
from .cluster import Cluster
from .coordinator import Coordinators
from .world import Object, Problem, World

__all__ = ["Memory", "observe"]


class Memory:
    """What is kept of a search between two passes; losing it costs nothing but a little time."""

    def __init__(self) -> None:
        self.silent = 0
        self.problem: Problem | None = None
        self.written = float("-inf")


async def observe(
    cluster: Cluster,
    coordinators: Coordinators,
    namespace: str,
    name: str,
    *,
    memory: Memory,
    now: datetime,
) -> World | None:
    """The world around one search; None if the resource is gone.

    Raises
    ------
    ApiError
        The API server does not answer: nothing is decided on half a picture.
    """
    search = await cluster.get(names.KIND, namespace, name)
    if search is None:
        return None
    uid = search["metadata"]["uid"]
    selector = f"{names.UID}={uid}"
    config_map, deployments, services, accounts, policies, pods = await asyncio.gather(
        cluster.get("ConfigMap", namespace, names.child_name(name, names.COORDINATOR, uid)),
        cluster.find("Deployment", namespace, selector),
        cluster.find("Service", namespace, selector),
        cluster.find("ServiceAccount", namespace, selector),
        cluster.find("NetworkPolicy", namespace, selector),
        cluster.find("Pod", namespace, selector),
    )
    ours = _owned(deployments, uid)
    report = None
    service = _owned(services, uid).get(names.child_name(name, names.COORDINATOR, uid))
    if service is not None and coordinator_ready(ours, name, uid):
        report = await coordinators.ask(service["spec"].get("clusterIP", ""), uid)
        memory.silent = 0 if report is not None else memory.silent + 1
    else:
        memory.silent = 0
    return World(
        search=search,
        now=now,
        config_map=config_map if config_map and _is_owned(config_map, uid) else None,
        deployments=ours,
        services=_owned(services, uid),
        service_accounts=_owned(accounts, uid),
        policies=_owned(policies, uid),
        pods=tuple(pods),
        report=report,
        silent=memory.silent,
        problem=memory.problem,
    )


def coordinator_ready(deployments: Mapping[str, Object], name: str, uid: str) -> bool:
    """Whether a coordinator pod passes its readiness probe."""
    deployment = deployments.get(names.child_name(name, names.COORDINATOR, uid), {})
    return int((deployment.get("status") or {}).get("readyReplicas") or 0) > 0


def _owned(objects: Iterable[Object], uid: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in objects if _is_owned(item, uid)}


def _is_owned(item: Object, uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid for owner in owners)
