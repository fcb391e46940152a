from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fednas_operator.actions import Consent, Delete, Scale, WriteStatus
from fednas_operator.plan import plan
from tests.unit.operator.simulation import (
    OTHER_NUMERICS,
    OVER,
    RESOURCE,
    RUNNING,
    SETTINGS,
    Simulation,
    settle,
    started,
)

CLIENTS = ("two-classes-hub-0b1f2a", "two-classes-phone-0b1f2a")
COORDINATOR = "two-classes-coordinator-0b1f2a"


def test_the_spec_is_accepted_before_anything_is_made(simulation: Simulation) -> None:
    first, *rest = plan(simulation.world, SETTINGS)
    assert isinstance(first, WriteStatus)
    assert first.urgent
    assert first.status["startTime"] == "2026-11-25T12:00:00Z"
    assert not rest


def test_a_search_gets_all_its_children_with_the_policies_before_the_pods(
    simulation: Simulation,
) -> None:
    settle(simulation)
    kinds = [kind for kind, _ in simulation.created if kind != "Secret"]
    assert kinds == [
        *("ConfigMap", "ServiceAccount", "NetworkPolicy", "NetworkPolicy", "NetworkPolicy"),
        *("Service", "Deployment", "Deployment", "Deployment"),
    ]
    assert sorted(simulation.world.deployments) == sorted([COORDINATOR, *CLIENTS])
    assert len(simulation.secrets) == 2


def test_nothing_is_done_when_all_is_well(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    assert plan(simulation.world, SETTINGS) == []


def test_the_status_follows_the_coordinator_but_keeps_its_own_start(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    status = simulation.world.status
    assert status["phase"] == "Searching"
    assert status["rounds"] == 9
    assert status["startTime"] == "2026-11-25T12:00:00Z"
    assert status["pods"] == {"ready": 3, "desired": 3}
    assert simulation.condition("Progressing") == ("True", "Searching")


def test_counters_alone_are_not_urgent(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    later = RUNNING | {"status": RUNNING["status"] | {"rounds": 10}}
    simulation.change(report=later)
    (write,) = plan(simulation.world, SETTINGS)
    assert isinstance(write, WriteStatus)
    assert not write.urgent


def test_the_last_figures_stay_while_no_coordinator_answers(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(report=None)
    assert plan(simulation.world, SETTINGS) == []
    assert simulation.world.status["rounds"] == 9


def test_the_end_is_written_before_any_child_goes(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(report=OVER)
    (write,) = plan(simulation.world, SETTINGS)
    assert isinstance(write, WriteStatus)
    assert write.status["phase"] == "Complete"


def test_clients_go_at_once_and_the_coordinator_once_every_record_is_delivered(
    simulation: Simulation,
) -> None:
    started(simulation, OVER)
    assert list(simulation.world.deployments) == [COORDINATOR]
    assert simulation.condition("Complete") == ("True", "Completed")
    assert simulation.condition("Tracked") == ("False", "Pending")
    simulation.change(report=OVER | {"tracking": {"pending": 0}})
    settle(simulation)
    assert simulation.kinds == set()
    assert simulation.condition("Tracked") == ("True", "Delivered")


def test_no_child_is_made_again_after_the_end(simulation: Simulation) -> None:
    started(simulation, OVER | {"tracking": {"pending": 0}})
    simulation.change(report=None)
    made = len(simulation.created)
    assert settle(simulation) == []
    assert len(simulation.created) == made


def test_a_coordinator_lost_before_delivery_comes_back(simulation: Simulation) -> None:
    started(simulation, OVER)
    simulation.change(deployments={}, report=None)
    settle(simulation)
    assert list(simulation.world.deployments) == [COORDINATOR]


def test_a_replaying_coordinator_is_not_taken_for_one_that_delivered_all(
    simulation: Simulation,
) -> None:
    started(simulation, OVER)
    simulation.change(report=RUNNING | {"tracking": {"pending": 0}})
    settle(simulation)
    assert simulation.condition("Tracked") == ("False", "Pending")
    assert simulation.condition("Complete") == ("True", "Completed")


def test_a_failed_search_keeps_its_reason(simulation: Simulation) -> None:
    failed = OVER | {
        "failed": True,
        "reason": "StartingNetworkUntrained",
        "message": "accuracy 0.1; train it longer",
        "tracking": {"pending": 0},
    }
    started(simulation, failed)
    assert simulation.world.status["phase"] == "Failed"
    assert simulation.condition("Failed") == ("True", "StartingNetworkUntrained")
    assert simulation.condition("Complete") is None
    assert simulation.kinds == set()


def test_suspended_searches_keep_their_children_without_pods(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.spec(suspend=True)
    actions = settle(simulation)
    scaled = [action for action in actions if isinstance(action, Scale)]
    assert {action.replicas for action in scaled} == {0}
    assert len(scaled) == 3
    assert simulation.world.status["phase"] == "Suspended"
    assert simulation.condition("Suspended") == ("True", "Suspended")
    simulation.spec(suspend=False)
    settle(simulation)
    assert {item["spec"]["replicas"] for item in simulation.world.deployments.values()} == {1, 2}
    assert simulation.condition("Suspended") == ("False", "Running")


def test_a_search_suspended_from_the_start_makes_nothing_and_may_be_mended(
    simulation: Simulation,
) -> None:
    simulation.spec(suspend=True)
    settle(simulation)
    assert simulation.kinds == set()
    assert "startTime" not in simulation.world.status
    assert simulation.condition("Accepted") == ("True", "Accepted")


def test_pods_of_a_class_follow_the_resource(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    classes = [dict(entry) for entry in simulation.world.spec["deviceClasses"]]
    classes[0]["pods"] = 5
    simulation.spec(deviceClasses=classes)
    assert Scale("two-classes-phone-0b1f2a", 5) in settle(simulation)


def with_address(simulation: Simulation) -> None:
    """What the API server gives a Service."""
    service = dict(simulation.world.services[COORDINATOR])
    service["spec"] = service["spec"] | {"clusterIP": "10.0.0.7"}
    simulation.change(services={COORDINATOR: service})


def test_other_numerics_wait_for_a_word_and_end_nothing(simulation: Simulation) -> None:
    started(simulation, OTHER_NUMERICS)
    assert simulation.condition("Degraded") == ("True", "OtherNumerics")
    assert simulation.world.condition("Degraded")["message"].startswith("class phone: computes")
    assert simulation.world.status["phase"] == "Searching"
    assert plan(simulation.world, SETTINGS) == []


def test_consent_is_passed_on_for_as_long_as_the_coordinator_asks(simulation: Simulation) -> None:
    started(simulation, OTHER_NUMERICS)
    with_address(simulation)
    simulation.spec(acceptNewNumerics=True)
    write, consent = plan(simulation.world, SETTINGS)
    simulation.carry_out(write)  # and the consent gets lost
    assert plan(simulation.world, SETTINGS) == [consent] == [Consent("10.0.0.7")]
    simulation.carry_out(consent)
    settle(simulation)
    assert simulation.condition("Degraded") == ("False", "AsExpected")
    assert plan(simulation.world, SETTINGS) == []


def test_consent_is_the_live_resource_s_though_the_frozen_spec_has_none(
    simulation: Simulation,
) -> None:
    started(simulation, RUNNING)
    simulation.spec(acceptNewNumerics=True)
    assert not [action for action in settle(simulation) if isinstance(action, Consent)]
    assert '"acceptNewNumerics": false' in simulation.world.config_map["data"]["search.json"]
    simulation.change(report=OTHER_NUMERICS)
    assert [action for action in settle(simulation) if isinstance(action, Consent)]


def test_no_consent_is_given_to_other_troubles_nor_to_a_search_that_is_over(
    simulation: Simulation,
) -> None:
    simulation.spec(acceptNewNumerics=True)
    trouble = {"reason": "StoreUnreachable", "message": "http://minio:9000 does not answer"}
    done = settle(started(simulation, RUNNING | {"degraded": trouble}))
    simulation.change(report=OVER)
    done += settle(simulation)
    simulation.change(report=OVER | {"degraded": OTHER_NUMERICS["degraded"]})
    done += settle(simulation)
    assert not [action for action in done if isinstance(action, Consent)]


def test_a_spec_that_cannot_be_run_is_refused_and_makes_nothing(simulation: Simulation) -> None:
    simulation.spec(target={"macs": {"share": 1.5}})
    settle(simulation)
    assert simulation.condition("Accepted") == ("False", "InvalidSpec")
    assert "spec.target.macs.share" in simulation.world.condition("Accepted")["message"]
    assert simulation.kinds == set()
    simulation.spec(target={"macs": {"share": 0.5}})
    settle(simulation)
    assert simulation.condition("Accepted") == ("True", "Accepted")


def test_a_search_without_storage_is_refused(simulation: Simulation) -> None:
    bare = SETTINGS.model_copy(update={"defaults": type(SETTINGS.defaults)()})
    (write,) = plan(simulation.world, bare)
    assert isinstance(write, WriteStatus)
    assert write.status["conditions"][0]["reason"] == "StorageMissing"


def test_a_path_on_somebodys_machine_is_refused(simulation: Simulation) -> None:
    simulation.spec(data={"source": "shared/data"})
    settle(simulation)
    assert simulation.condition("Accepted") == ("False", "LocalPath")


def test_a_tracking_database_in_a_pod_is_refused(simulation: Simulation) -> None:
    simulation.spec(tracking={"uri": "sqlite:///mlflow.db"})
    settle(simulation)
    assert simulation.condition("Accepted") == ("False", "LocalPath")
    message = simulation.world.condition("Accepted")["message"]
    assert message.startswith("spec.tracking.uri: 'sqlite:///mlflow.db'")
    assert simulation.kinds == set()


def test_the_secrets_are_there_while_the_config_map_is(simulation: Simulation) -> None:
    settle(simulation)
    kinds = [kind for kind, _ in simulation.created]
    assert kinds[:3] == ["Secret", "Secret", "ConfigMap"]


def test_changed_defaults_do_not_touch_a_search_under_way(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    bare = SETTINGS.model_copy(update={"defaults": type(SETTINGS.defaults)()})
    assert plan(simulation.world, bare) == []


def test_a_search_that_is_being_deleted_is_left_alone(simulation: Simulation) -> None:
    search = dict(simulation.world.search)
    search["metadata"] = search["metadata"] | {"deletionTimestamp": "2026-11-25T12:00:00Z"}
    simulation.change(search=search)
    assert plan(simulation.world, SETTINGS) == []


def test_a_status_wiped_in_mid_search_is_rebuilt_with_its_start(simulation: Simulation) -> None:
    started(simulation, RUNNING)
    simulation.change(search={**simulation.world.search, "status": {}})
    made = len(simulation.created)
    settle(simulation)
    assert simulation.world.status["startTime"] == "2026-11-25T11:59:00Z"
    assert simulation.world.status["phase"] == "Searching"
    assert len(simulation.created) == made


@hypothesis_settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 14), max_size=12), st.sampled_from([RUNNING, OVER]))
def test_the_operator_may_die_after_any_action(cuts: list[int], report: dict[str, Any]) -> None:
    undisturbed = started(Simulation(RESOURCE), report)
    killed = Simulation(RESOURCE)
    for cut in cuts:
        for action in plan(killed.world, SETTINGS)[:cut]:
            killed.carry_out(action)
    started(killed, report)
    assert killed.world == undisturbed.world
    assert killed.secrets == undisturbed.secrets


def test_the_config_map_is_the_last_to_go(simulation: Simulation) -> None:
    started(simulation, OVER)
    simulation.change(report=OVER | {"tracking": {"pending": 0}})
    deleted = [action for action in settle(simulation) if isinstance(action, Delete)]
    assert deleted[-1].kind == "ConfigMap"
