from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta

from fednas.spec import SearchStatus
from fednas_operator.accept import Refused
from fednas_operator.plan import plan
from fednas_operator.status import next_status, with_problem
from fednas_operator.world import Problem
from tests.unit.operator.simulation import (
    NOW,
    OVER,
    RUNNING,
    SETTINGS,
    Simulation,
    settle,
    started,
)


def test_the_time_of_a_transition_is_carried_over(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(now=NOW + timedelta(minutes=5))
    assert plan(simulation.world, SETTINGS) == []
    simulation.change(problem=Problem("QuotaExceeded", "raise it"))
    settle(simulation)
    times = {
        item["type"]: item["lastTransitionTime"] for item in simulation.world.status["conditions"]
    }
    assert times["Accepted"] == "2026-11-25T12:00:00Z"
    assert times["Degraded"] == "2026-11-25T12:05:00Z"


def test_a_reason_may_change_without_a_transition(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(problem=Problem("QuotaExceeded", "raise it"))
    settle(simulation)
    later = NOW + timedelta(minutes=5)
    simulation.change(problem=Problem("NameTaken", "delete it"), now=later)
    settle(simulation)
    found = simulation.world.condition("Degraded")
    assert found is not None
    assert found["reason"] == "NameTaken"
    assert found["lastTransitionTime"] == "2026-11-25T12:00:00Z"


def test_long_messages_are_cut_to_what_the_schema_allows(simulation: Simulation) -> None:
    status = next_status(simulation.world, Refused("InvalidSpec", "ä" * 600))
    message = status["conditions"][0]["message"]
    assert len(message.encode()) <= 512
    assert message.endswith("...")


def test_every_status_is_of_the_schema(simulation: Simulation) -> None:
    for report in (None, RUNNING, OVER, OVER | {"tracking": {"pending": 0}}):
        world = started(simulation, report).world
        SearchStatus.model_validate(json.loads(json.dumps(world.status)), strict=False)


def test_fields_of_a_newer_coordinator_are_left_out(simulation: Simulation) -> None:
    report = copy.deepcopy(RUNNING)
    report["status"]["novelty"] = 1
    simulation.change(report=report)
    settle(simulation)
    assert "novelty" not in simulation.world.status


def test_a_resource_cannot_leave_its_end(simulation: Simulation) -> None:
    started(simulation, OVER)
    before = dict(simulation.world.status)
    assert replace(simulation.world, report=None).terminal
    simulation.spec(suspend=True)
    settle(simulation)
    assert simulation.world.status["phase"] == "Complete"
    assert simulation.condition("Suspended") == ("False", "Running")
    (ended,) = (item for item in before["conditions"] if item["type"] == "Complete")
    assert simulation.world.condition("Complete") == ended | {"observedGeneration": 2}


def test_the_phase_follows_the_conditions_and_whoever_edits_it_ends_nothing(
    simulation: Simulation,
) -> None:
    def edited(phase: str) -> None:
        status = {**simulation.world.status, "phase": phase}
        simulation.change(search={**simulation.world.search, "status": status})

    started(simulation, RUNNING)
    edited("Complete")
    assert not simulation.world.terminal
    broken = with_problem(simulation.world.status, Problem("InternalError", "a defect"), NOW)
    ready = {item["type"]: item["status"] for item in broken["conditions"]}["Ready"]
    assert ready == "False", "as of a search that goes on"
    settle(simulation)
    assert simulation.world.status["phase"] == "Searching"
    assert len(simulation.world.deployments) == 3
    started(simulation, OVER)
    edited("Searching")
    assert simulation.world.terminal
    settle(simulation)
    assert simulation.world.status["phase"] == "Complete"
    assert len(simulation.world.deployments) == 1


def test_the_final_training_is_told(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(report=RUNNING | {"status": RUNNING["status"] | {"phase": "FinalTraining"}})
    settle(simulation)
    assert simulation.world.status["phase"] == "FinalTraining"
    assert simulation.condition("Progressing") == ("True", "FinalTraining")
    simulation.change(report=None)
    settle(simulation)
    assert simulation.world.status["phase"] == "FinalTraining"


def test_figures_stand_once_the_search_is_over(simulation: Simulation) -> None:
    started(simulation, OVER)
    late = OVER["status"] | {"rounds": 99, "trackingRunID": "abc"}
    simulation.change(report=OVER | {"status": late})
    settle(simulation)
    assert simulation.world.status["rounds"] == 31
    assert simulation.world.status["trackingRunID"] == "abc"


def test_every_condition_tells_of_which_generation_it_speaks(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.spec(suspend=True)
    settle(simulation)
    generation = simulation.world.search["metadata"]["generation"]
    assert generation == 2
    conditions = simulation.world.status["conditions"]
    assert {condition["observedGeneration"] for condition in conditions} == {generation}


def test_the_reason_in_the_list_is_that_of_the_most_telling_condition(
    simulation: Simulation,
) -> None:
    def shown() -> str:
        settle(simulation)
        return str(simulation.world.status["display"]["reason"])

    assert shown() == "Starting"
    started(simulation, RUNNING)
    assert shown() == "Searching"
    simulation.change(problem=Problem("QuotaExceeded", "raise it"))
    assert shown() == "QuotaExceeded"
    simulation.change(problem=None, report=OVER)
    assert shown() == "Completed"


def test_the_reason_of_a_search_that_cannot_be_run_is_in_the_list(simulation: Simulation) -> None:
    status = next_status(simulation.world, Refused("InvalidSpec", "mend it"))
    assert status["display"] == {"reason": "InvalidSpec"}
