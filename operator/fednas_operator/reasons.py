"""Why a search does not go on as it should, read from its Deployments, Pods and coordinator.

Never from Events, which are lost, nor from Secrets, which the operator may not read. Every message
ends with what would mend it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from . import names
from .world import Object, Problem, World

__all__ = ["degraded"]

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_RECENT = timedelta(minutes=10)
_MOUNTED_BY = timedelta(seconds=45)
"""Since the node took the pod; it has started none of its containers yet."""


def degraded(world: World) -> Problem | None:
    """The most telling problem, the coordinator's before the clients'; None if all is well."""
    if world.problem is not None:
        return world.problem
    candidates = (_refused_pods(world), _troubled_pods(world), _coordinator(world))
    return next((problem for found in candidates for problem in found), None)


def _refused_pods(world: World) -> Iterator[Problem]:
    """Pods that the API server does not let be made: quota, Pod Security, admission."""
    for name in sorted(world.deployments):
        for condition in (world.deployments[name].get("status") or {}).get("conditions") or ():
            if condition["type"] != "ReplicaFailure" or condition["status"] != "True":
                continue
            message = condition.get("message", "")
            if "exceeded quota" in message:
                yield Problem("QuotaExceeded", f"{name}: {message}; raise the namespace's quota")
            else:
                yield Problem("PodsRefused", f"{name}: {message}; see the namespace's policies")


def _troubled_pods(world: World) -> Iterator[Problem]:
    def rank(pod: Object) -> tuple[bool, str]:
        return _label(pod, names.ROLE) != names.COORDINATOR, pod["metadata"]["name"]

    for pod in sorted(world.pods, key=rank):
        if "deletionTimestamp" in pod["metadata"]:
            continue
        who = _who(pod)
        status = pod.get("status") or {}
        if status.get("phase") in {"Failed", "Succeeded"}:  # its Deployment has made another
            yield from _evicted(who, status, world.now)
            continue
        yield from _unschedulable(who, status.get("conditions") or ())
        yield from _unmounted(who, status, world.now)
        for container in status.get("containerStatuses") or ():
            yield from _container(who, container, world.now)


def _unschedulable(who: str, conditions: Iterable[Object]) -> Iterator[Problem]:
    for condition in conditions:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield Problem(
                "Unschedulable",
                f"{who}: {condition.get('message', 'no node fits')}; "
                "lower its requests or pods, or add a node",
            )


def _evicted(who: str, status: Object, now: datetime) -> Iterator[Problem]:
    """Said for a while: the pod stays in the API long after another has taken its place."""
    times = [item.get("lastTransitionTime") for item in status.get("conditions") or ()]
    last = max((time for time in times if time), default=None)
    if status.get("reason") == "Evicted" and _recent({"finishedAt": last}, now):
        yield Problem(
            "Evicted",
            f"{who}: {status.get('message', 'its node ran short')}; another pod takes its place",
        )


def _unmounted(who: str, status: Object, now: datetime) -> Iterator[Problem]:
    """Of a pod whose volumes do not come, no container says anything; Kubernetes 1.29 and newer."""
    started = status.get("startTime")
    if started is None or now - datetime.fromisoformat(started) < _MOUNTED_BY:
        return
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodReadyToStartContainers" and condition["status"] == "False":
            yield Problem(
                "VolumeMissing",
                f"{who}: its volumes are not there; do the ConfigMaps and Secrets of "
                "spec.storage.ca and spec.tracking.ca exist, with the key ca.crt? "
                "See kubectl describe pod",
            )


def _container(who: str, container: Object, now: datetime) -> Iterator[Problem]:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if reason in _PULL:
        yield Problem(
            "ImagePullError",
            f"{who}: image {container.get('image', '')}: {message or reason}; "
            "check the chart's runtime image and its pull secrets",
        )
    elif reason == "CreateContainerConfigError":
        yield Problem(
            "SecretMissing",
            f"{who}: {message}; create the Secret that spec.storage.secretName names, with the "
            "keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or that of spec.tracking.secretName",
        )
    elif ended.get("reason") == "OOMKilled" and (waiting or _recent(ended, now)):
        yield Problem(
            "OOMKilled",
            f"{who}: killed for want of memory; raise resources.limits.memory of the class",
        )
    elif reason == "CrashLoopBackOff" or (state.get("terminated") or {}).get("exitCode"):
        lines = str(ended.get("message") or "").strip().splitlines() or [""]
        yield Problem(
            "CrashLoop",
            f"{who}: ended with exit code {ended.get('exitCode', '?')}: {lines[-1][:200]}; "
            "see kubectl logs --previous",
        )
    elif reason in {"CreateContainerError", "RunContainerError"}:
        yield Problem("ContainerNotStarting", f"{who}: {message}; see kubectl describe pod")


def _coordinator(world: World) -> Iterator[Problem]:
    if world.silence is not None:
        yield world.silence
    found = (world.report or {}).get("degraded")
    if found:
        yield Problem(str(found["reason"]), str(found["message"]))


def _recent(ended: Object, now: datetime) -> bool:
    finished = ended.get("finishedAt")
    return finished is not None and now - datetime.fromisoformat(finished) < _RECENT


def _label(pod: Object, label: str) -> str:
    return str((pod["metadata"].get("labels") or {}).get(label, ""))


def _who(pod: Object) -> str:
    device_class = _label(pod, names.CLASS)
    return f"class {device_class}" if device_class else _label(pod, names.ROLE)
