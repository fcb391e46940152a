"""What is known of a search: read from the API server once, then kept up to date by events.

A picture is read when there is none: at first, after anything that went wrong, and once in a while,
since an event may be lost. Of the operator's own changes the API server's answers tell. So a pass
that changes nothing costs the API server nothing. A lost picture costs one more reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from . import names
from .cluster import Cluster
from .coordinator import Coordinators
from .world import Object, Problem, World

__all__ = ["Memory", "coordinator_ready", "notice", "observe"]

_SILENT_PASSES = 3
_CHILDREN = {
    "Deployment": "deployments",
    "Service": "services",
    "ServiceAccount": "service_accounts",
    "NetworkPolicy": "policies",
}


@dataclass
class Picture:
    """A search and its children as last seen; events change it in place.

    Parameters
    ----------
    taken : float
        When it was read, in monotonic seconds.
    search : mapping
    config_map : mapping or None
    deployments, services, service_accounts, policies : dict of name to object
        Owned by the search.
    pods : dict of name to object
        What `reasons` reads of them, and no more: there may be thousands.
    """

    taken: float
    search: Object
    config_map: Object | None
    deployments: dict[str, Object]
    services: dict[str, Object]
    service_accounts: dict[str, Object]
    policies: dict[str, Object]
    pods: dict[str, Object]

    @property
    def uid(self) -> str:
        """Of the search."""
        return str(self.search["metadata"]["uid"])

    def see(self, kind: str, name: str, child: Object | None) -> None:
        """A child as the API server answered to a change; None: it was deleted."""
        if kind == "Scale" and child is not None:
            kind, child = "Deployment", _scaled(self.deployments.get(name), child)
        if kind == "ConfigMap":
            self.config_map = child
        elif kind in _CHILDREN:
            _put(getattr(self, _CHILDREN[kind]), name, child)


@dataclass
class Memory:
    """What is kept of a search between two passes; losing it costs nothing but a little time.

    Parameters
    ----------
    picture : Picture or None
    late : list
        Events that came while a picture was being read.
    silent : int
        Passes in a row in which a ready coordinator gave no sound answer.
    problem : Problem or None
        Why the last pass could not carry out an action.
    refused : int
        Passes in a row with a problem.
    written : float
        When the status was last written, in monotonic seconds.
    wrote : mapping or None
        That status, as the API server took it.
    contested : int
        How often somebody else has lately changed what was written.
    phase : str
        Of the search.
    """

    picture: Picture | None = None
    late: list[tuple[str, Object, bool]] = field(default_factory=list)
    silent: int = 0
    problem: Problem | None = None
    refused: int = 0
    written: float = field(default=float("-inf"))
    wrote: Object | None = None
    contested: int = 0
    phase: str = ""


async def observe(
    cluster: Cluster,
    coordinators: Coordinators,
    namespace: str,
    name: str,
    *,
    memory: Memory,
    now: datetime,
    clock: float,
    keep: float,
) -> World | None:
    """The world around one search; None if the resource is gone.

    Parameters
    ----------
    clock : float
        Monotonic seconds.
    keep : float
        For how many seconds a picture serves.

    Raises
    ------
    ApiError
        The API server does not answer: nothing is decided on half a picture.
    """
    if memory.picture is not None and clock - memory.picture.taken > keep:
        memory.picture = None
    if memory.picture is None:
        memory.late = []
        memory.picture = await _read(cluster, namespace, name, clock)
        late, memory.late = memory.late, []  # without a picture, `notice` adds to it again
        for kind, item, gone in late:
            notice(memory, kind, item, gone=gone)
    picture = memory.picture
    if picture is None:
        return None
    uid, silence = picture.uid, None
    report = None
    service = picture.services.get(names.child_name(name, names.COORDINATOR, uid))
    if service is not None and coordinator_ready(picture.deployments, name, uid):
        answer = await coordinators.ask(service["spec"].get("clusterIP", ""), uid)
        memory.silent = memory.silent + 1 if isinstance(answer, Problem) else 0
        if not isinstance(answer, Problem):
            report = answer
        elif memory.silent >= _SILENT_PASSES:
            silence = answer
    else:
        memory.silent = 0
    return World(
        search=picture.search,
        now=now,
        config_map=picture.config_map,
        deployments=dict(picture.deployments),
        services=picture.services,
        service_accounts=picture.service_accounts,
        policies=picture.policies,
        pods=tuple(picture.pods.values()),
        report=report,
        silence=silence,
        problem=memory.problem,
    )


def notice(memory: Memory, kind: str, item: Object, *, gone: bool) -> None:
    """Bring the picture of a search up to date by an event.

    Parameters
    ----------
    kind : str
        FederatedSearch, Deployment or Pod.
    item : mapping
        The object of the event.
    gone : bool
        Whether it was deleted.
    """
    picture, name = memory.picture, item["metadata"]["name"]
    if picture is None:
        memory.late.append((kind, item, gone))
        return
    match kind:
        case names.KIND if gone or item["metadata"]["uid"] != picture.uid:
            memory.picture = None
        case names.KIND if not _older(item, picture.search):
            picture.search = item
        case "Deployment" if _is_owned(item, picture.uid):
            _put(picture.deployments, name, None if gone else item)
        case "Pod" if item["metadata"]["labels"].get(names.UID) == picture.uid:
            _put(picture.pods, name, None if gone else _telling(item))


async def _read(cluster: Cluster, namespace: str, name: str, clock: float) -> Picture | None:
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
    return Picture(
        taken=clock,
        search=search,
        config_map=config_map if config_map and _is_owned(config_map, uid) else None,
        deployments=_owned(deployments, uid),
        services=_owned(services, uid),
        service_accounts=_owned(accounts, uid),
        policies=_owned(policies, uid),
        pods={pod["metadata"]["name"]: _telling(pod) for pod in pods},
    )


def coordinator_ready(deployments: Mapping[str, Object], name: str, uid: str) -> bool:
    """Whether a coordinator pod passes its readiness probe."""
    deployment = deployments.get(names.child_name(name, names.COORDINATOR, uid), {})
    return int((deployment.get("status") or {}).get("readyReplicas") or 0) > 0


def _older(item: Object, known: Object | None) -> bool:
    """Whether an event speaks of what an answer to ourselves has overtaken.

    Resource versions of one kind can be compared: https://kep.k8s.io/5504
    """
    versions = [
        str((one or {"metadata": {}})["metadata"].get("resourceVersion")) for one in (item, known)
    ]
    return all(map(str.isdecimal, versions)) and int(versions[0]) < int(versions[1])


def _put(objects: dict[str, Object], name: str, item: Object | None) -> None:
    if item is None:
        objects.pop(name, None)
    elif not _older(item, objects.get(name)):
        objects[name] = item


def _scaled(deployment: Object | None, scale: Object) -> Object | None:
    """A Deployment with what its subresource tells of it."""
    if deployment is None:
        return None
    version = {"resourceVersion": scale["metadata"]["resourceVersion"]}
    return {
        **deployment,
        "metadata": {**deployment["metadata"], **version},
        "spec": {**deployment["spec"], "replicas": scale["spec"].get("replicas", 0)},
    }


def _telling(pod: Object) -> Object:
    meta, status = pod["metadata"], pod.get("status") or {}
    return {
        "metadata": {
            key: meta[key]
            for key in ("name", "labels", "resourceVersion", "deletionTimestamp")
            if key in meta
        },
        "status": {
            key: status[key]
            for key in (
                *("phase", "reason", "message", "startTime"),
                *("conditions", "containerStatuses"),
            )
            if key in status
        },
    }


def _owned(objects: Iterable[Object], uid: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in objects if _is_owned(item, uid)}


def _is_owned(item: Object, uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid for owner in owners)
