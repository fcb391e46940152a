"""The status of a search, rebuilt on every pass from what the world shows.

The coordinator fills the figures; the operator adds conditions, pods and the phase. While no
coordinator answers, the last figures stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fednas.spec import FederatedSearch, SearchStatus

from . import names
from .accept import Refused
from .reasons import degraded
from .world import Object, Problem, World

__all__ = ["next_status", "terminal", "urgent", "with_problem"]

_OPERATOR_FIELDS = {"conditions", "observedGeneration", "pods", "phase", "startTime"}
_REPORTED = {
    field.alias or name for name, field in SearchStatus.model_fields.items()
} - _OPERATOR_FIELDS
_MESSAGE_BYTES = 512
_REASON_LETTERS = 32


@dataclass(frozen=True)
class _Condition:
    type: str
    holds: bool
    reason: str
    message: str


def next_status(world: World, verdict: FederatedSearch | Refused) -> dict[str, Any]:
    """The status that the resource should have.

    Parameters
    ----------
    world : World
        What this pass saw.
    verdict : FederatedSearch or Refused
        The resolved spec, or why there is none.
    """
    status = {key: value for key, value in world.status.items() if key in _REPORTED}
    reported = _reported(world)
    news = {"trackingRunID"} if world.terminal else _REPORTED  # figures stand when it is over
    status |= {key: value for key, value in reported.items() if key in news}
    started = world.status.get("startTime")
    if started is None and isinstance(verdict, FederatedSearch) and not _unstarted(world):
        born = world.config_map["metadata"]["creationTimestamp"] if world.config_map else None
        started = born or _stamp(world.now)
    if started is not None:
        status["startTime"] = started
    status["observedGeneration"] = world.search["metadata"].get("generation", 1)
    status["pods"] = _pods(world)
    status["phase"] = _phase(world, reported)
    status["conditions"] = [
        _dated(world.condition(condition.type), condition, world.now)
        for condition in _conditions(world, verdict, status["phase"])
    ]
    for condition in status["conditions"]:
        condition["observedGeneration"] = status["observedGeneration"]
    status["display"] = {**status.get("display", {}), "reason": _reason(status["conditions"])}
    return status


def with_problem(status: Object, problem: Problem, now: datetime) -> dict[str, Any]:
    """A status that says so and is otherwise the same: for when none can be made."""
    others = [c for c in status.get("conditions") or () if c["type"] != "Degraded"]
    before = next((c for c in status.get("conditions") or () if c["type"] == "Degraded"), None)
    condition = _dated(before, _Condition("Degraded", True, problem.reason, problem.message), now)
    if "observedGeneration" in status:
        condition["observedGeneration"] = status["observedGeneration"]
    conditions = [*others, condition]
    display = {**status.get("display", {}), "reason": _reason(conditions)}
    return {**status, "conditions": conditions, "display": display}


def _reason(conditions: Sequence[Object]) -> str:
    """The most telling one: how it ended, what is in the way, or what it is at."""
    telling = (
        ("Failed", "True"),
        ("Complete", "True"),
        ("Accepted", "False"),
        ("Degraded", "True"),
    )
    found = {(condition["type"], condition["status"]): condition for condition in conditions}
    progressing = (item for item in conditions if item["type"] == "Progressing")
    chosen = [*(found[key] for key in telling if key in found), *progressing]
    return str(chosen[0]["reason"])[:_REASON_LETTERS]


def terminal(status: Object) -> bool:
    """Whether a status says that the search is over."""
    return any(
        condition["type"] in {"Complete", "Failed"} and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def urgent(old: Object, new: Object) -> bool:
    """Whether more than counters changed, so that the write must not wait."""
    return _transitions(old) != _transitions(new)


def _transitions(status: Object) -> tuple[Any, ...]:
    conditions = sorted(
        (condition["type"], condition["status"], condition["reason"])
        for condition in status.get("conditions") or ()
    )
    return (
        status.get("phase"),
        status.get("startTime"),
        status.get("observedGeneration"),
        status.get("iteration"),
        status.get("pods"),
        conditions,
    )


def _unstarted(world: World) -> bool:
    """Suspended before it ever began: nothing is made, and the spec may still be mended."""
    return world.suspended and not world.deployments and world.config_map is None


def _running(world: World) -> int:
    """Pods that are there or still to come."""
    wanted = sum(int(item["spec"].get("replicas") or 0) for item in world.deployments.values())
    ended = {"Failed", "Succeeded"}
    alive = [pod for pod in world.pods if (pod.get("status") or {}).get("phase") not in ended]
    return max(wanted, len(alive))


def _suspended(world: World, over: bool) -> _Condition:
    if over or not world.suspended:
        return _Condition("Suspended", False, "Running", "spec.suspend is false")
    if count := _running(world):
        return _Condition("Suspended", False, "Suspending", f"{count} pods are still to end")
    return _Condition(
        "Suspended", True, "Suspended", "spec.suspend is true; set it to false to go on"
    )


def _reported(world: World) -> Object:
    found: Object = (world.report or {}).get("status") or {}
    return found


def _pods(world: World) -> dict[str, int]:
    """Client pods; the coordinator's is not counted."""
    clients = [
        item for item in world.deployments.values() if names.CLASS in item["metadata"]["labels"]
    ]
    ready = sum(int((item.get("status") or {}).get("readyReplicas") or 0) for item in clients)
    desired = sum(int(item["spec"].get("replicas") or 0) for item in clients)
    return {"ready": ready, "desired": desired}


def _phase(world: World, reported: Object) -> str:
    if world.holds("Failed"):
        return "Failed"
    if world.holds("Complete"):
        return "Complete"
    if world.report is not None and world.report.get("over"):
        return "Failed" if world.report.get("failed") else "Complete"
    if world.suspended and not _running(world):
        return "Suspended"
    for phase in (reported.get("phase"), world.status.get("phase")):
        if phase in {"Initializing", "Searching"}:
            return str(phase)
    return "Pending"


def _conditions(
    world: World, verdict: FederatedSearch | Refused, phase: str
) -> Iterator[_Condition]:
    over = phase in {"Complete", "Failed"}
    if isinstance(verdict, Refused) and world.frozen is None and not over:
        yield _Condition("Accepted", False, verdict.reason, verdict.message)
        yield _Condition("Progressing", False, "NotAccepted", "nothing runs until it is accepted")
        yield _suspended(world, over)
        return
    yield _Condition("Accepted", True, "Accepted", _accepted(verdict))
    yield _Condition("Progressing", *_PROGRESS[phase])
    problem = None if over or _unstarted(world) else degraded(world)
    if problem is None and isinstance(verdict, Refused) and not over:
        problem = Problem(verdict.reason, verdict.message)
    if problem is None:
        yield _Condition("Degraded", False, "AsExpected", "nothing is amiss")
    else:
        yield _Condition("Degraded", True, problem.reason, problem.message)
    yield _suspended(world, over)
    if over:
        yield _outcome(world, phase)
        yield _tracked(world)


_PROGRESS: Mapping[str, tuple[bool, str, str]] = {
    "Pending": (True, "Starting", "waiting for the coordinator"),
    "Initializing": (True, "Initializing", "making the starting network"),
    "Searching": (True, "Searching", "shrinking the network"),
    "Suspended": (False, "Suspended", "spec.suspend is true"),
    "Complete": (False, "Complete", "the search is over"),
    "Failed": (False, "Failed", "the search is over"),
}


def _accepted(verdict: FederatedSearch | Refused) -> str:
    warnings = [] if isinstance(verdict, Refused) else verdict.spec.warnings()
    return "; ".join(["the spec can be run", *(f"warning: {warning}" for warning in warnings)])


def _outcome(world: World, phase: str) -> _Condition:
    before = world.condition(phase)
    if before is not None and before["status"] == "True":
        return _Condition(phase, True, before["reason"], before["message"])
    report = world.report or {}
    return _Condition(
        phase, True, str(report.get("reason") or phase), str(report.get("message") or "")
    )


def _tracked(world: World) -> _Condition:
    """Durable: once True, the children go and are never made again."""
    if world.holds("Tracked"):
        return _Condition("Tracked", True, "Delivered", "every record reached the tracking server")
    report = world.report
    if report is not None and report.get("over") and _pending(report) == 0:
        return _Condition("Tracked", True, "Delivered", "every record reached the tracking server")
    return _Condition(
        "Tracked",
        False,
        "Pending",
        "the coordinator stays until the tracking server has taken every record; "
        "check that spec.tracking.uri answers",
    )


def _pending(report: Object) -> int:
    return int((report.get("tracking") or {}).get("pending") or 0)


def _dated(before: Object | None, condition: _Condition, now: datetime) -> dict[str, Any]:
    """As the API has it; the time of the last transition is carried over."""
    value = "True" if condition.holds else "False"
    same = before is not None and before["status"] == value
    return {
        "type": condition.type,
        "status": value,
        "reason": condition.reason,
        "message": _cut(condition.message),
        "lastTransitionTime": before["lastTransitionTime"]
        if same and before is not None
        else _stamp(now),
    }


def _cut(message: str) -> str:
    data = message.encode()
    if len(data) <= _MESSAGE_BYTES:
        return message
    return data[: _MESSAGE_BYTES - 3].decode(errors="ignore") + "..."


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
