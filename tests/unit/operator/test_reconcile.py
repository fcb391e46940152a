from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fednas_operator import names
from fednas_operator.plan import plan
from fednas_operator.settings import Defaults
from tests.unit.operator.cluster import KEY, Fault, World, faults
from tests.unit.operator.simulation import OVER, RUNNING

COORDINATOR = "two-classes-coordinator-0b1f2a"
PHONE = "two-classes-phone-0b1f2a"
DELIVERED = OVER | {"tracking": {"pending": 0}}
OTHER = Defaults(
    storage={"endpoint": "http://other:9000", "bucket": "other", "secretName": "other"}
)


async def running(world: World) -> World:
    world.report = RUNNING
    await world.live(10)
    assert world.status["phase"] == "Searching"
    return world


def pods(world: World, count: int, device_class: str | None = "phone", **status: Any) -> None:
    role = "client" if device_class else "coordinator"
    uid = world.search["metadata"]["uid"]
    for i in range(count):
        world.api.put(
            {
                "kind": "Pod",
                "metadata": {
                    "name": f"{device_class or role}-{i}",
                    "namespace": KEY.namespace,
                    "labels": names.labels(KEY.name, uid, role, device_class),
                },
                "spec": {"containers": [{"name": role, "env": ["x" * 5000]}]},
                "status": {"phase": "Running", **status},
            }
        )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "x", "state": state}]}


def unschedulable() -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return {"phase": "Pending", "conditions": [condition | {"message": "Insufficient memory"}]}


def test_a_search_that_goes_on_costs_the_api_server_nothing() -> None:
    async def scenario() -> None:
        world = await running(World())
        before, asked = world.counted(), world.asked
        await world.live(60)
        assert world.asked - asked >= 18
        assert world.counted() == before

    asyncio.run(scenario())


def test_what_the_operator_changes_itself_it_does_not_read_again() -> None:
    async def scenario() -> None:
        world = await running(World())
        assert {world.counted("GET", kind) for kind in ("Deployment", "Service", "Pod")} == {1}
        world.edit(suspend=True)
        await world.live(5)
        assert world.condition("Suspended") == ("True", "Suspended")
        assert world.counted("PATCH", "Deployment") == 3
        world.edit(suspend=False)
        await world.live(20)
        assert world.condition("Suspended")[0] == "False"
        assert world.counted("PATCH", "Deployment") == 6
        world.report = DELIVERED
        await world.live(10)
        assert not world.children("Deployment")
        assert not world.children("ConfigMap")
        assert world.counted("GET", "Deployment") == 1

    asyncio.run(scenario())


def test_what_another_operator_has_made_is_seen_and_not_made_again() -> None:
    async def scenario() -> None:
        world = World()
        world.operator()
        await world.live(10)
        before = world.counted("POST")
        await world.live(30)
        assert world.counted("POST") == before

    asyncio.run(scenario())


def test_a_pod_that_no_node_takes_costs_the_api_server_nothing() -> None:
    async def scenario() -> None:
        world = World()
        await world.live(2, nodes=False)
        pods(world, 2, **unschedulable())
        await world.live(10, nodes=False)
        assert world.condition("Degraded") == ("True", "Unschedulable")
        before, passes = world.counted(), world.passes
        await world.live(60, nodes=False)
        assert world.counted() == before
        assert world.passes - passes <= 2
        assert world.counted("POST", "Secret") == 2
        await world.live(3)  # an event tells of its node
        assert world.asked

    asyncio.run(scenario())


def test_a_pod_that_waits_for_a_volume_is_told_without_any_further_event() -> None:
    async def scenario() -> None:
        world = World()
        await world.live(2, nodes=False)
        unmounted = {"type": "PodReadyToStartContainers", "status": "False"}
        began = "2026-11-25T12:00:02Z"
        pods(world, 1, None, phase="Pending", startTime=began, conditions=[unmounted])
        await world.live(10, nodes=False)
        assert world.condition("Degraded") == ("False", "AsExpected")
        await world.live(80, nodes=False)
        assert world.condition("Degraded") == ("True", "VolumeMissing")

    asyncio.run(scenario())


def test_no_log_no_status_and_no_action_holds_a_token_or_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []

    def planned(world: Any, settings: Any) -> Any:
        actions = plan(world, settings)
        shown.append(f"{world!r} {actions!r}")
        return actions

    async def scenario() -> None:
        world = World(report=RUNNING)
        world.api.fault = faults(("POST Secret", Fault(403, "Forbidden", "exceeded quota: s")))
        await world.live(10)
        world.api.fault = faults()
        await world.live(30)
        assert world.status["phase"] == "Searching"
        world.api.delete("Secret", KEY.namespace, PHONE)
        pods(world, 1, **waiting("CreateContainerConfigError", f'secret "{PHONE}" not found'))
        await world.live(10)
        world.report = DELIVERED
        await world.live(10)
        uid, key = world.search["metadata"]["uid"], world.settings.master_key
        roles = ("operator", "class/phone", "class/hub")
        kept = [key, *(names.token(key, uid, role) for role in roles)]
        made = [f"{call.verb} {call.kind}" for call in world.api.requests]
        assert made.count("POST Secret") >= 4
        text = " ".join((caplog.text, *shown, repr(world.search), repr(world.api.events)))
        assert not [secret for secret in kept if secret in text]
        assert "create Secret" in caplog.text

    monkeypatch.setattr("fednas_operator.reconcile.plan", planned)
    with caplog.at_level("DEBUG"):
        asyncio.run(scenario())


def test_a_thousand_pods_are_listed_in_pages_and_once() -> None:
    async def scenario() -> None:
        world = await running(World())
        before = world.counted("GET", "Pod")
        pods(world, 1000)
        await world.live(30)
        assert world.counted("GET", "Pod") == before
        world.kill()
        await world.live(30)
        assert world.counted("GET", "Pod") == before + 10

    asyncio.run(scenario())


def test_a_full_quota_does_not_trouble_a_search_whose_pod_is_late() -> None:
    async def scenario() -> None:
        world = await running(World())
        full = Fault(403, "Forbidden", "exceeded quota: small, requested: count/secrets=1")
        world.api.fault = faults(("POST", full))
        phone = world.children("Deployment")[PHONE]
        world.api.put({**phone, "status": {"readyReplicas": 0}})
        await world.live(30, nodes=False)
        assert world.condition("Degraded") == ("False", "AsExpected")

    asyncio.run(scenario())


def test_a_secret_deleted_by_hand_is_made_again_once_its_pods_miss_it() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.api.delete("Secret", KEY.namespace, PHONE)
        pods(world, 1, **waiting("CreateContainerConfigError", f'secret "{PHONE}" not found'))
        await world.live(5)
        assert PHONE in world.children("Secret")
        before = world.counted("POST", "Secret")
        await world.live(30)  # the kubelet takes its time, and each look costs one refusal
        assert world.counted("POST", "Secret") - before <= 11

    asyncio.run(scenario())


def test_two_operators_with_different_keys_do_not_write_in_turns() -> None:
    async def scenario() -> None:
        world = await running(World())
        other = world.settings.model_copy(update={"master_key": "another key of sixteen"})
        world.operator(other)
        uid = world.search["metadata"]["uid"]
        world.strangers = {names.token(other.master_key, uid, "operator")}
        before = world.counted("PUT")
        await world.live(120)
        assert 2 <= world.counted("PUT") - before <= 20

    asyncio.run(scenario())


def test_the_status_of_two_operators_of_one_mind_stands() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.operator()
        before = world.counted("PUT")
        await world.live(60)
        assert world.counted("PUT") == before

    asyncio.run(scenario())


def test_a_status_wiped_by_hand_is_written_again_at_once() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.api.put({key: value for key, value in world.search.items() if key != "status"})
        await world.live(3)
        assert world.status["phase"] == "Searching"
        assert world.condition("Accepted") == ("True", "Accepted")

    asyncio.run(scenario())


def test_a_defect_of_the_operator_shows_as_a_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = await running(World())

        def defective(*_: Any) -> list[Any]:
            raise ValueError("Port out of range 0-65535")

        with monkeypatch.context() as patch:
            patch.setattr("fednas_operator.reconcile.plan", defective)
            await world.live(20)
            assert world.condition("Degraded") == ("True", "InternalError")
            assert "Port out of range" in world.message("Degraded")
            assert world.condition("Accepted") == ("True", "Accepted")
            before = world.counted("PUT")
            await world.live(60)
            assert world.counted("PUT") == before
        await world.live(60)
        assert world.condition("Degraded") == ("False", "AsExpected")

    asyncio.run(scenario())


def test_a_status_that_the_api_server_finds_invalid_shows_as_a_condition() -> None:
    async def scenario() -> None:
        world = await running(World())
        refused = iter([Fault(422, "Invalid", "status.rounds: too large")])
        world.api.fault = lambda call: next(refused, None) if call.sub == "status" else None
        world.report = RUNNING | {"status": RUNNING["status"] | {"iteration": 3}}
        seen = []
        for _ in range(40):
            await world.live(0.2)
            seen.append(world.condition("Degraded")[1])
        assert "InternalError" in seen
        assert world.status["iteration"] == 3

    asyncio.run(scenario())


def test_a_refused_create_does_not_keep_a_suspended_search_running() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.api.fault = faults(("POST Service", Fault(403, "Forbidden", "no")))
        world.api.delete("Service", KEY.namespace, COORDINATOR)
        world.kill()
        world.edit(suspend=True)
        await world.live(10)
        assert {i["spec"]["replicas"] for i in world.children("Deployment").values()} == {0}

    asyncio.run(scenario())


def test_a_deployment_that_cannot_be_scaled_keeps_no_other_running() -> None:
    async def scenario() -> None:
        world = await running(World())
        refused = Fault(403, "Forbidden", "a webhook says no")
        world.api.fault = faults((f"PATCH Deployment {COORDINATOR}", refused))
        pods(world, 1, None)
        world.edit(suspend=True)
        await world.live(10)
        replicas = {n: i["spec"]["replicas"] for n, i in world.children("Deployment").items()}
        assert sorted(replicas.values()) == [0, 0, 1]
        assert world.condition("Suspended") == ("False", "Suspending")
        assert world.condition("Degraded") == ("True", "ActionRefused")
        assert world.status["phase"] == "Searching"
        world.api.fault = faults()
        world.api.delete("Pod", KEY.namespace, "coordinator-0")
        await world.live(40)
        assert world.condition("Suspended") == ("True", "Suspended")
        assert world.status["phase"] == "Suspended"

    asyncio.run(scenario())


def test_a_refusal_that_lasts_is_tried_ever_more_rarely() -> None:
    async def scenario() -> None:
        world = World()
        world.api.fault = faults(("POST Service ", Fault(403, "Forbidden", "exceeded quota: s")))
        await world.live(60)
        assert world.condition("Degraded") == ("True", "QuotaExceeded")
        before = world.counted()
        await world.live(120)
        assert world.counted() - before <= 5 * 9
        world.api.fault = faults()
        await world.live(40)
        assert COORDINATOR in world.children("Service")

    asyncio.run(scenario())


def test_a_frozen_spec_of_another_version_leaks_no_child() -> None:
    async def scenario() -> None:
        world = await running(World())
        config_map = world.children("ConfigMap")[COORDINATOR]
        config_map["data"]["search.json"] = '{"apiVersion": "fednas.dev/v1alpha1", "spec": {}}\n'
        world.kill()
        await world.live(5)
        assert world.condition("Accepted") == ("True", "Accepted")
        assert world.condition("Degraded") == ("True", "SpecUnreadable")
        world.report = DELIVERED
        await world.live(10)
        assert world.status["phase"] == "Complete"
        assert {key[0] for key in world.api.objects} == {names.KIND}

    asyncio.run(scenario())


def test_a_config_map_deleted_by_hand_is_restored_as_it_was() -> None:
    async def scenario() -> None:
        world = await running(World())
        before = world.children("ConfigMap")[COORDINATOR]["data"]
        world.api.delete("ConfigMap", KEY.namespace, COORDINATOR)
        world.kill(world.settings.model_copy(update={"defaults": OTHER}))
        await world.live(5)
        assert world.children("ConfigMap")[COORDINATOR]["data"] == before

    asyncio.run(scenario())


def test_what_is_changed_by_hand_is_put_right() -> None:
    async def scenario() -> None:
        world = await running(World())
        right = {kind: world.children(kind) for kind in ("NetworkPolicy", "Service")}
        deny = "two-classes-deny-0b1f2a"
        policy, service = right["NetworkPolicy"][deny], right["Service"][COORDINATOR]
        world.api.put({**policy, "spec": {**policy["spec"], "ingress": [{}]}})
        world.api.put({**service, "spec": {**service["spec"], "selector": {"app": "other"}}})
        await world.live(310)
        assert world.children("NetworkPolicy")[deny]["spec"] == policy["spec"]
        assert world.children("Service")[COORDINATOR]["spec"] == service["spec"]

    asyncio.run(scenario())


def test_a_policy_stays_as_it_was_made_when_the_chart_changes() -> None:
    async def scenario() -> None:
        world = await running(World())
        bare = type(world.settings.defaults)()
        world.kill(world.settings.model_copy(update={"defaults": bare}))
        before = world.counted("PUT", "NetworkPolicy")
        await world.live(10)
        assert world.counted("PUT", "NetworkPolicy") == before

    asyncio.run(scenario())


def test_lost_events_are_made_up_for() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.deaf = True
        world.api.delete("Deployment", KEY.namespace, PHONE)
        world.edit(suspend=True)
        await world.live(320)
        world.deaf = False
        await world.live(5)
        assert sorted(world.children("Deployment")) == [
            *(COORDINATOR, "two-classes-hub-0b1f2a", PHONE),
        ]
        assert world.status["phase"] == "Suspended"

    asyncio.run(scenario())


def test_a_search_deleted_while_nobody_looked_is_forgotten() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.deaf = True
        world.api.delete(names.KIND, *KEY)
        await world.live(320)
        assert world.operators[0].known() == []
        before = world.counted()
        await world.live(320)
        assert world.counted() == before

    asyncio.run(scenario())


def test_an_event_that_an_answer_has_overtaken_is_no_news() -> None:
    async def scenario() -> None:
        world = await running(World())
        old = {**world.search, "status": {}}
        old["metadata"] = {**old["metadata"], "resourceVersion": "101"}
        before = world.counted()
        world.operators[0].notice(KEY, names.KIND, old)
        world.queues[0].add(KEY)
        await world.live(5)
        assert world.counted() == before

    asyncio.run(scenario())


def test_an_edit_while_the_status_is_written_is_not_forgotten() -> None:
    """The event of the edit comes before the answer to the operator's own write."""

    async def scenario() -> None:
        world = await running(World())
        world.report = RUNNING | {"status": RUNNING["status"] | {"iteration": 3}}
        call = world.api.call_api

        async def edited(request: dict[str, Any], _request_timeout: Any) -> Any:
            response = await call(request, _request_timeout)
            if request["resource_path"].endswith("/status"):
                world.api.call_api = call  # type: ignore[method-assign]
                response.body = json.loads(json.dumps(response.body))
                world.edit(suspend=True)
            return response

        world.api.call_api = edited  # type: ignore[method-assign]
        await world.live(15)
        assert world.status["phase"] == "Suspended"

    asyncio.run(scenario())


def test_a_new_key_is_named_as_the_cause() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.coordinator_status = 401
        await world.live(20)
        assert world.condition("Degraded") == ("True", "OperatorRefused")
        assert "master key" in world.message("Degraded")
        world.coordinator_status = 200
        await world.live(30)
        assert world.condition("Degraded") == ("False", "AsExpected")

    asyncio.run(scenario())


def test_a_silent_coordinator_is_asked_more_rarely() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.report = None
        await world.live(60)
        assert world.condition("Degraded") == ("True", "CoordinatorUnreachable")
        before = world.asked
        await world.live(60)
        assert world.asked - before <= 3
        world.report = RUNNING
        await world.live(40)
        assert world.condition("Degraded") == ("False", "AsExpected")

    asyncio.run(scenario())


@pytest.mark.parametrize("suspend", [False, True])
def test_a_spec_whose_both_copies_are_deleted_is_not_frozen_anew(suspend: bool) -> None:
    async def scenario() -> None:
        world = await running(World())
        world.edit(suspend=suspend)
        await world.live(10)
        before = world.children("ConfigMap")[COORDINATOR]
        world.api.delete("ConfigMap", KEY.namespace, COORDINATOR)
        world.api.delete("Deployment", KEY.namespace, COORDINATOR)
        world.kill(world.settings.model_copy(update={"defaults": OTHER}))
        await world.live(310, step=0.5)
        assert world.children("ConfigMap") == {}
        assert COORDINATOR not in world.children("Deployment")
        assert world.condition("Degraded") == ("True", "SpecLost")
        assert COORDINATOR in world.message("Degraded")
        assert world.condition("Accepted") == ("True", "Accepted")
        world.edit(suspend=False)
        world.api.put(before)  # from a backup
        await world.live(310, step=0.5)
        assert world.status["phase"] == "Searching"
        assert world.condition("Degraded") == ("False", "AsExpected")

    asyncio.run(scenario())


def test_a_spec_lost_with_every_child_is_not_frozen_anew() -> None:
    async def scenario() -> None:
        world = await running(World())
        for kind, namespace, name in list(world.api.objects):
            if kind != names.KIND:
                world.api.delete(kind, namespace, name)
        world.kill()
        await world.live(30)
        assert world.condition("Degraded") == ("True", "SpecLost")
        assert world.children("Deployment") == {}

    asyncio.run(scenario())


def test_a_search_that_was_accepted_and_not_frozen_yet_has_lost_nothing() -> None:
    async def scenario() -> None:
        world = World(report=RUNNING)
        world.api.fault = faults(("POST Secret", Fault(403, "Forbidden", "exceeded quota: s")))
        await world.live(60)
        assert world.condition("Degraded") == ("True", "QuotaExceeded")
        world.api.fault = faults()
        await world.live(60)
        assert world.status["phase"] == "Searching"

    asyncio.run(scenario())


def test_a_search_that_has_lost_its_spec_can_be_ended_by_its_deadline() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.api.delete("ConfigMap", KEY.namespace, COORDINATOR)
        world.api.delete("Deployment", KEY.namespace, COORDINATOR)
        world.kill()
        await world.live(10)
        world.edit(activeDeadlineSeconds=1)
        await world.live(10)
        assert world.condition("Failed") == ("True", "DeadlineExceeded")
        assert {key[0] for key in world.api.objects} <= {names.KIND, "Secret"}

    asyncio.run(scenario())


def test_a_coordinator_lost_after_the_end_keeps_no_child_for_ever() -> None:
    async def scenario() -> None:
        world = await running(World())
        world.report = OVER
        await world.live(10)
        world.api.delete("ConfigMap", KEY.namespace, COORDINATOR)
        world.api.delete("Deployment", KEY.namespace, COORDINATOR)
        world.kill()
        await world.live(20)
        assert world.condition("Complete") == ("True", "Completed")
        assert world.condition("Tracked") == ("False", "Interrupted")
        assert {key[0] for key in world.api.objects} <= {names.KIND, "Secret"}

    asyncio.run(scenario())


@pytest.mark.parametrize("anew", [False, True])
def test_a_search_deleted_while_it_is_read_holds_nobody_up(anew: bool) -> None:
    """Its events come while there is no picture of it, and none will be."""

    async def scenario() -> None:
        world = await running(World())
        resource = world.resource
        call = world.api.call_api

        async def deleted(request: dict[str, Any], _request_timeout: Any) -> Any:
            response = await call(request, _request_timeout)
            if request["resource_path"].endswith("/pods"):  # of many, and the last to come
                world.api.call_api = call  # type: ignore[method-assign]
                world.api.delete(names.KIND, *KEY)
                if anew:
                    meta = resource["metadata"] | {"uid": "9" + resource["metadata"]["uid"][1:]}
                    world.api.put({**resource, "metadata": meta, "status": {}})
            return response

        world.api.call_api = deleted  # type: ignore[method-assign]
        await world.live(310, step=0.5)
        assert world.operators[0].known() == ([KEY] if anew else [])
        if anew:
            assert world.status["phase"] == "Searching"
            assert "two-classes-phone-9b1f2a" in world.children("Deployment")

    asyncio.run(scenario())
