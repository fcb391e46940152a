from __future__ import annotations

from typing import Any

import pytest

from fednas_operator.reasons import degraded
from fednas_operator.world import Problem
from tests.unit.operator.simulation import Simulation

WAITING = [
    ("ErrImagePull", "no such image", "ImagePullError"),
    ("ImagePullBackOff", "", "ImagePullError"),
    ("CreateContainerConfigError", 'secret "fednas-minio" not found', "SecretMissing"),
    ("CrashLoopBackOff", "", "CrashLoop"),
    ("RunContainerError", "exec: no such file", "ContainerNotStarting"),
]


@pytest.mark.parametrize(("waiting", "message", "reason"), WAITING)
def test_a_waiting_container_tells_why(
    simulation: Simulation, pod: Any, waiting: str, message: str, reason: str
) -> None:
    state = {"waiting": {"reason": waiting, "message": message}}
    simulation.change(pods=(pod("phone", state=state),))
    problem = degraded(simulation.world)
    assert problem is not None
    assert problem.reason == reason
    assert problem.message.startswith("class phone: ")
    assert message in problem.message


def test_a_class_too_small_for_its_model_is_named(simulation: Simulation, pod: Any) -> None:
    killed = {"terminated": {"reason": "OOMKilled", "finishedAt": "2026-11-25T11:58:00Z"}}
    simulation.change(pods=(pod("hub", state={"running": {}}, lastState=killed),))
    problem = degraded(simulation.world)
    assert problem is not None
    assert problem.reason == "OOMKilled"
    assert "class hub" in problem.message
    assert "resources.limits.memory" in problem.message


def test_a_container_that_just_ended_badly_tells_its_last_line(
    simulation: Simulation, pod: Any
) -> None:
    ended = {"terminated": {"exitCode": 1, "message": "Traceback\nUsageError: no such command\n"}}
    simulation.change(pods=(pod(None, state=ended),))
    problem = degraded(simulation.world)
    assert problem is not None
    assert problem.reason == "CrashLoop"
    assert "exit code 1: UsageError: no such command" in problem.message


def test_an_old_death_is_forgotten(simulation: Simulation, pod: Any) -> None:
    killed = {"terminated": {"reason": "OOMKilled", "finishedAt": "2026-11-25T10:00:00Z"}}
    simulation.change(pods=(pod("hub", state={"running": {}}, lastState=killed),))
    assert degraded(simulation.world) is None


def test_a_pod_that_no_node_takes(simulation: Simulation, pod: Any) -> None:
    waiting = pod("phone")
    waiting["status"] = {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient memory.",
            }
        ]
    }
    simulation.change(pods=(waiting,))
    problem = degraded(simulation.world)
    assert problem is not None
    assert problem.reason == "Unschedulable"
    assert "Insufficient memory" in problem.message


@pytest.mark.parametrize(
    ("mounted", "started", "reason"),
    [
        ("False", "2026-11-25T11:59:00Z", "VolumeMissing"),
        ("False", "2026-11-25T11:59:50Z", None),  # a volume may take a while
        ("True", "2026-11-25T11:00:00Z", None),  # an image that is pulled takes longer
    ],
)
def test_a_pod_whose_volumes_do_not_come_is_told(
    simulation: Simulation, pod: Any, mounted: str, started: str, reason: str | None
) -> None:
    waiting = pod(None, state={"waiting": {"reason": "ContainerCreating"}})
    waiting["status"] |= {
        "startTime": started,
        "conditions": [{"type": "PodReadyToStartContainers", "status": mounted}],
    }
    simulation.change(pods=(waiting,))
    problem = degraded(simulation.world)
    assert (problem and problem.reason) == reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [("exceeded quota: small, requested: pods=1", "QuotaExceeded"), ("violates", "PodsRefused")],
)
def test_pods_that_may_not_be_made(simulation: Simulation, message: str, reason: str) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    simulation.change(deployments={"d": {"status": {"conditions": [failure]}}})
    problem = degraded(simulation.world)
    assert problem is not None
    assert problem.reason == reason


def test_the_coordinators_trouble_comes_before_the_clients(
    simulation: Simulation, pod: Any
) -> None:
    loop = {"waiting": {"reason": "CrashLoopBackOff"}}
    pull = {"waiting": {"reason": "ErrImagePull"}}
    simulation.change(pods=(pod("a", state=pull), pod(None, state=loop)))
    problem = degraded(simulation.world)
    assert problem is not None
    assert problem.message.startswith("coordinator: ")


def test_a_pod_on_its_way_out_troubles_nobody(simulation: Simulation, pod: Any) -> None:
    leaving = pod("phone", state={"waiting": {"reason": "CrashLoopBackOff"}})
    leaving["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:00Z"
    simulation.change(pods=(leaving,))
    assert degraded(simulation.world) is None


def test_what_the_coordinator_reports_is_passed_on(simulation: Simulation) -> None:
    found = {"reason": "StoreUnreachable", "message": "http://minio:9000 does not answer"}
    simulation.change(report={"version": 1, "degraded": found})
    assert degraded(simulation.world) == Problem(**found)


def test_a_pod_whose_place_another_has_taken_troubles_nobody(
    simulation: Simulation, pod: Any
) -> None:
    killed = {"terminated": {"exitCode": 137, "reason": "Error"}}
    gone = pod("phone", state=killed)
    gone["status"] |= {"phase": "Failed", "reason": "NodeShutdown"}
    simulation.change(pods=(gone,))
    assert degraded(simulation.world) is None


@pytest.mark.parametrize(
    ("when", "reason"), [("2026-11-25T11:58:00Z", "Evicted"), ("2026-11-25T11:40:00Z", None)]
)
def test_an_evicted_pod_is_told_for_ten_minutes(
    simulation: Simulation, pod: Any, when: str, reason: str | None
) -> None:
    evicted = pod("phone", state={"terminated": {"exitCode": 137}})
    evicted["status"] |= {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: ephemeral-storage.",
        "conditions": [{"type": "DisruptionTarget", "lastTransitionTime": when}],
    }
    simulation.change(pods=(evicted,))
    problem = degraded(simulation.world)
    assert (problem and problem.reason) == reason
    if problem is not None:
        assert "ephemeral-storage" in problem.message


def test_a_silent_coordinator_is_reported(simulation: Simulation) -> None:
    simulation.change(silence=Problem("CoordinatorUnreachable", "check the network policies"))
    assert degraded(simulation.world) == simulation.world.silence
