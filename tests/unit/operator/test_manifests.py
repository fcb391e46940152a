from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from fednas_operator import manifests, names
from fednas_operator.accept import accept
from fednas_operator.resources import client_resources, coordinator_resources
from fednas_operator.settings import Settings
from tests.unit.operator.simulation import GOLDEN, UID


class _Blocks(yaml.SafeDumper):
    """Texts of many lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Blocks.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def everything(resource: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    search = accept(resource, settings.defaults)
    return [
        *manifests.frozen(search, UID, settings.master_key),
        *manifests.children(search, UID, settings),
    ]


def test_the_children_are_those_of_the_golden_file(
    resource: dict[str, Any], settings: Settings
) -> None:
    path = GOLDEN / "children.yaml"
    text = yaml.dump_all(everything(resource, settings), Dumper=_Blocks, sort_keys=False)
    if os.environ.get("FEDNAS_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_child_goes_with_its_search_and_is_found_by_its_uid(
    resource: dict[str, Any], settings: Settings
) -> None:
    for manifest in everything(resource, settings):
        meta = manifest["metadata"]
        assert [owner["uid"] for owner in meta["ownerReferences"]] == [UID]
        assert meta["labels"][names.UID] == UID
        assert meta["namespace"] == "team"
        assert len(meta["name"]) <= 54


def test_pods_meet_the_restricted_pod_security_standard(
    resource: dict[str, Any], settings: Settings
) -> None:
    pods = [
        manifest["spec"]["template"]["spec"]
        for manifest in everything(resource, settings)
        if manifest["kind"] == "Deployment"
    ]
    assert len(pods) == 3
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {kind for volume in pod["volumes"] for kind in volume} <= {
            *("name", "configMap", "secret", "emptyDir"),
        }


def test_clients_hold_their_own_token_and_no_store_credentials(
    resource: dict[str, Any], settings: Settings
) -> None:
    by_name = {
        (item["kind"], item["metadata"]["name"]): item for item in everything(resource, settings)
    }
    hashes = json.loads(
        by_name["ConfigMap", "two-classes-coordinator-0b1f2a"]["data"]["tokens.json"]
    )
    assert sorted(hashes) == ["class/hub", "class/phone", "operator"]
    for own in ("hub", "phone"):
        name = f"two-classes-{own}-0b1f2a"
        token = by_name["Secret", name]["stringData"]["token"]
        assert names.token_hash(token) == hashes[f"class/{own}"]
        (container,) = by_name["Deployment", name]["spec"]["template"]["spec"]["containers"]
        secrets = [
            entry["valueFrom"]["secretKeyRef"]["name"]
            for entry in container["env"]
            if "valueFrom" in entry
        ]
        assert secrets == [name]


def test_the_coordinator_is_told_when_the_secret_of_the_store_changes(
    resource: dict[str, Any], settings: Settings
) -> None:
    """Variables of a container stay as they were; the files of a mounted Secret follow it."""
    pod = next(
        item["spec"]["template"]["spec"]
        for item in everything(resource, settings)
        if item["kind"] == "Deployment" and item["metadata"]["labels"][names.ROLE] == "coordinator"
    )
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    folder = container["args"][container["args"].index("--credentials") + 1]
    (volume,) = (v for v in pod["volumes"] if mounts[v["name"]] == folder)
    assert volume["secret"] == {"secretName": "fednas-minio", "optional": True}
    keys = [e["name"] for e in container["env"] if "valueFrom" in e]
    assert keys == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def test_the_frozen_spec_holds_the_defaults_of_the_chart_and_of_the_schema(
    resource: dict[str, Any], settings: Settings
) -> None:
    (config_map, *_) = everything(resource, settings)
    frozen = json.loads(config_map["data"][names.SPEC_FILE])
    assert frozen["spec"]["storage"]["endpoint"] == "http://fednas-minio.fednas.svc:9000"
    assert frozen["spec"]["tracking"]["experiment"] == "fednas"
    assert frozen["spec"]["strategy"]["netAdapt"]["maxIterations"] == 100


def test_a_server_that_the_search_names_itself_is_allowed_by_its_port_alone(
    resource: dict[str, Any], settings: Settings
) -> None:
    resource["spec"]["storage"] = {
        "endpoint": "https://s3.example.org",
        "bucket": "other",
        "secretName": "other",
    }
    clients = next(
        item
        for item in everything(resource, settings)
        if item["kind"] == "NetworkPolicy"
        and item["metadata"]["name"].startswith("two-classes-clients")
    )
    assert {"ports": [{"protocol": "TCP", "port": 443}]} in clients["spec"]["egress"]


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        (None, {"cpu": "100m", "memory": "256Mi"}, None),
        (
            {"limits": {"cpu": "500m", "memory": "768Mi"}},
            {"cpu": "50m", "memory": "768Mi"},
            {"cpu": "500m", "memory": "768Mi"},
        ),
        (
            {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
            {"cpu": "1", "memory": "1Gi"},
            {"cpu": "2", "memory": "1Gi"},
        ),
        (
            {"limits": {"cpu": "15m"}},
            {"cpu": "2m", "memory": "256Mi"},
            {"cpu": "15m"},
        ),
    ],
)
def test_a_class_asks_for_its_memory_limit_and_a_tenth_of_its_cpu(
    given: dict[str, Any] | None, requests: dict[str, str], limits: dict[str, str] | None
) -> None:
    result = client_resources(given)
    assert result["requests"] == requests
    assert result.get("limits") == limits


def test_the_coordinators_requests_stay_below_its_limits() -> None:
    small = coordinator_resources({"limits": {"cpu": "100m", "memory": "300Mi"}})
    assert small["requests"] == {"cpu": "100m", "memory": "300Mi"}
    assert coordinator_resources(None) == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"memory": "1Gi"},
    }


def test_names_differ_for_a_search_made_anew_under_the_same_name() -> None:
    long = "a-search-with-a-very-long-name-that-goes-on"
    first = names.child_name(long, "coordinator", UID)
    second = names.child_name(long, "coordinator", "ffffff00-1111-4222-8333-444444444444")
    assert first != second
    assert first == "a-search-with-a-very-long-name-coordinator-0b1f2a"


def test_a_name_that_starts_with_a_digit_makes_a_service_that_starts_with_a_letter() -> None:
    for name in ("7-layers", "2026-11-26", "0" * 63):
        child = names.child_name(name, "coordinator", "0b1f2a3c-1111-4222-8333-444444444444")
        assert child[0].isalpha()
        assert len(child) <= 54
