"""What Flux, Argo CD and `kubectl wait` make of a search."""

from __future__ import annotations

from typing import Any

import pytest

from fednas_operator.accept import Refused
from fednas_operator.status import next_status, with_problem
from fednas_operator.world import Problem
from tests.unit.operator.simulation import NOW, OVER, RUNNING, Simulation, settle, started

FAILED = OVER | {"failed": True, "reason": "QuorumMissed", "message": "thrice"}
FULL = Problem("QuotaExceeded", "raise it")


def kstatus(generation: int, status: dict[str, Any]) -> tuple[str, str]:
    """State and reason, by the rules of sigs.k8s.io/cli-utils/pkg/kstatus for any resource."""
    if status["observedGeneration"] < generation:
        return "InProgress", "LatestGenerationNotObserved"
    found = {condition["type"]: condition for condition in status["conditions"]}
    for kind, state in (("Reconciling", "InProgress"), ("Stalled", "Failed")):
        if found.get(kind, {}).get("status") == "True":
            return state, found[kind]["reason"]
    state = {"True": "Current", "False": "InProgress"}[found["Ready"]["status"]]
    return state, found["Ready"]["reason"]


def seen(simulation: Simulation) -> tuple[str, str]:
    settle(simulation)
    status = dict(simulation.world.status)
    return kstatus(simulation.world.search["metadata"]["generation"], status)


def test_a_search_is_current_once_it_has_started_as_a_job_is(simulation: Simulation) -> None:
    assert seen(simulation) == ("InProgress", "Starting")
    started(simulation, RUNNING)
    assert seen(simulation) == ("Current", "Searching")
    simulation.change(report=OVER)
    assert seen(simulation) == ("Current", "Completed")


def test_a_spec_that_has_to_be_mended_is_failed(simulation: Simulation) -> None:
    simulation.spec(data={"source": "./digits"})
    assert seen(simulation) == ("Failed", "LocalPath")
    simulation.spec(data={"source": "digits"})
    assert seen(simulation) == ("InProgress", "Starting")


def test_what_is_in_the_way_is_in_progress_with_its_reason(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(problem=FULL)
    assert seen(simulation) == ("InProgress", "QuotaExceeded")
    simulation.change(problem=None)
    assert seen(simulation) == ("Current", "Searching")


def test_a_search_that_ended_without_a_result_is_failed(simulation: Simulation) -> None:
    started(simulation, FAILED)
    assert seen(simulation) == ("Failed", "QuorumMissed")


def test_a_suspended_search_is_current_once_its_pods_are_gone(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    pod = {"metadata": {"name": "p", "labels": {}}, "status": {"phase": "Running"}}
    simulation.change(pods=(pod,))
    simulation.spec(suspend=True)
    assert seen(simulation) == ("InProgress", "Suspending")
    simulation.change(pods=())
    assert seen(simulation) == ("Current", "Suspended")
    simulation.spec(suspend=False)
    simulation.change(report=None)
    assert seen(simulation) == ("InProgress", "Starting")


def test_what_is_abnormal_is_shown_only_while_it_is(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    kinds = [condition["type"] for condition in simulation.world.status["conditions"]]
    assert kinds == ["Accepted", "Progressing", "Degraded", "Suspended", "Ready"]


@pytest.mark.parametrize(
    ("report", "expected"),
    [(RUNNING, ("InProgress", "InternalError")), (OVER, ("Current", "Completed"))],
)
def test_a_defect_does_not_leave_a_search_current_unless_it_is_over(
    simulation: Simulation, report: dict[str, Any], expected: tuple[str, str]
) -> None:
    started(simulation, report)
    broken = with_problem(simulation.world.status, Problem("InternalError", "a defect"), NOW)
    assert kstatus(1, broken) == expected


def test_a_refusal_and_its_message_are_in_each_condition_that_tells_of_it(
    simulation: Simulation,
) -> None:
    status = next_status(simulation.world, Refused("InvalidSpec", "mend it"))
    told = {c["type"]: (c["reason"], c["message"]) for c in status["conditions"]}
    assert told["Ready"] == told["Stalled"] == told["Accepted"] == ("InvalidSpec", "mend it")
