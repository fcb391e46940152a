"""The status of a search, rebuilt on every pass from what the world shows.

The coordinator fills the figures; the operator adds conditions, pods and the phase. While no
coordinator answers, the last figures stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from fednas.spec import FederatedSearch, SearchStatus

from . import names
from .accept import Refused
from .conditions import Condition, dated, stamp, summary
from .limits import given_up, overrun
from .reasons import degraded
from .world import Object, Problem, World

__all__ = ["next_status", "terminal", "urgent", "with_problem"]

_OPERATOR_FIELDS = {"conditions", "observedGeneration", "pods", "phase", "startTime"}
_REPORTED = {
    field.alias or name for name, field in SearchStatus.model_fields.items()
} - _OPERATOR_FIELDS
_REASON_LETTERS = 32


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
        started = born or stamp(world.now)
    if started is not None:
        status["startTime"] = started
    status["observedGeneration"] = world.search["metadata"].get("generation", 1)
    status["pods"] = _pods(world)
    status["phase"] = _phase(world, reported)
    conditions = list(_conditions(world, verdict, status["phase"]))
    status["conditions"] = [
        dated(world.condition(condition.type), condition, world.now)
        | {"observedGeneration": status["observedGeneration"]}
        for condition in (*conditions, *summary(conditions))
    ]
    status["display"] = {**status.get("display", {}), "reason": _reason(status["conditions"])}
    return status


def with_problem(status: Object, problem: Problem, now: datetime) -> dict[str, Any]:
    """A status that says so and is otherwise the same: for when none can be made."""
    before = {condition["type"]: condition for condition in status.get("conditions") or ()}
    anew = [Condition("Degraded", True, problem.reason, problem.message)]
    if not terminal(status):
        anew += summary(anew)
    gone = {condition.type for condition in anew} | ({"Stalled"} if len(anew) > 1 else set())
    conditions = [condition for kind, condition in before.items() if kind not in gone]
    for condition in anew:
        made = dated(before.get(condition.type), condition, now)
        if "observedGeneration" in status:
            made["observedGeneration"] = status["observedGeneration"]
        conditions.append(made)
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


def _suspended(world: World, over: bool) -> Condition:
    if over or not world.suspended:
        return Condition("Suspended", False, "Running", "spec.suspend is false")
    if count := world.num_running:
        return Condition("Suspended", False, "Suspending", f"{count} pods are still to end")
    return Condition(
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
    if overrun(world):
        return "Failed"
    if world.suspended and not world.num_running:
        return "Suspended"
    for phase in (reported.get("phase"), world.status.get("phase")):
        if phase in {"Initializing", "Searching", "FinalTraining"}:
            return str(phase)
    return "Pending"


def _conditions(
    world: World, verdict: FederatedSearch | Refused, phase: str
) -> Iterator[Condition]:
    over = phase in {"Complete", "Failed"}
    if isinstance(verdict, Refused) and world.frozen is None and not (over or world.lost):
        yield Condition("Accepted", False, verdict.reason, verdict.message)
        yield Condition("Progressing", False, "NotAccepted", "nothing runs until it is accepted")
        yield _suspended(world, over)
        return
    yield Condition("Accepted", True, "Accepted", _accepted(verdict))
    yield Condition("Progressing", *_PROGRESS[phase])
    problem = None if over or _unstarted(world) else degraded(world)
    if problem is None and isinstance(verdict, Refused) and not over:
        problem = Problem(verdict.reason, verdict.message)
    if problem is None:
        yield Condition("Degraded", False, "AsExpected", "nothing is amiss")
    else:
        yield Condition("Degraded", True, problem.reason, problem.message)
    yield _suspended(world, over)
    if over:
        yield _outcome(world, phase)
        yield _tracked(world)


_PROGRESS: Mapping[str, tuple[bool, str, str]] = {
    "Pending": (True, "Starting", "waiting for the coordinator"),
    "Initializing": (True, "Initializing", "making the starting network"),
    "Searching": (True, "Searching", "shrinking the network"),
    "FinalTraining": (True, "FinalTraining", "training the networks that are used"),
    "Suspended": (False, "Suspended", "spec.suspend is true"),
    "Complete": (False, "Complete", "the search is over"),
    "Failed": (False, "Failed", "the search is over"),
}


def _accepted(verdict: FederatedSearch | Refused) -> str:
    warnings = [] if isinstance(verdict, Refused) else verdict.spec.warnings()
    return "; ".join(["the spec can be run", *(f"warning: {warning}" for warning in warnings)])


def _outcome(world: World, phase: str) -> Condition:
    before = world.condition(phase)
    if before is not None and before["status"] == "True":
        return Condition(phase, True, before["reason"], before["message"])
    if overrun(world):
        seconds = world.spec["activeDeadlineSeconds"]
        message = (
            f"it has run for longer than spec.activeDeadlineSeconds: {seconds} s; "
            "the ladder so far is in the bucket"
        )
        return Condition("Failed", True, "DeadlineExceeded", message)
    report = world.report or {}
    return Condition(
        phase, True, str(report.get("reason") or phase), str(report.get("message") or "")
    )


def _tracked(world: World) -> Condition:
    """Durable: once True, the children go and are never made again."""
    if world.holds("Tracked"):
        return Condition("Tracked", True, "Delivered", "every record reached the tracking server")
    report, late = world.report, given_up(world)
    if world.cut_short or overrun(world) or (world.lost and not late):
        return Condition(
            "Tracked",
            False,
            "Interrupted",
            "the coordinator was ended before MLflow had every record; the journal has all",
        )
    if report is not None and report.get("over") and _pending(report) == 0:
        return Condition("Tracked", True, "Delivered", "every record reached the tracking server")
    if late:
        return Condition(
            "Tracked",
            False,
            "GivenUp",
            "MLflow did not take every record within a day after the end; the journal has all",
        )
    return Condition(
        "Tracked",
        False,
        "Pending",
        "the coordinator stays for a day until the tracking server has taken every record; "
        "check that spec.tracking.uri answers",
    )


def _pending(report: Object) -> int:
    return int((report.get("tracking") or {}).get("pending") or 0)
