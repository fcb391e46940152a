from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from fednas.spec import PodIds, PodTemplate
from fednas_operator import manifests, names
from fednas_operator.accept import accept
from fednas_operator.adopt import given
from fednas_operator.resources import client_resources, coordinator_resources, max_workers
from fednas_operator.settings import Defaults, Egress, Settings
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
        *manifests.frozen(search, UID, settings.master_key, given(resource["spec"])),
        *manifests.children(search, UID, settings, given(resource["spec"])),
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
    assert keys == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]


def test_the_frozen_spec_holds_the_defaults_of_the_chart_and_of_the_schema(
    resource: dict[str, Any], settings: Settings
) -> None:
    (config_map, *_) = everything(resource, settings)
    frozen = json.loads(config_map["data"][names.SPEC_FILE])
    assert frozen["spec"]["storage"]["endpoint"] == "http://fednas-minio.fednas.svc:9000"
    assert frozen["spec"]["tracking"]["experiment"] == "fednas"
    assert frozen["spec"]["strategy"]["netAdapt"]["maxIterations"] == 100


def test_a_server_that_the_search_names_itself_is_allowed_by_its_port_but_not_link_local(
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
    ports = [{"protocol": "TCP", "port": 443}]
    (rule,) = (one for one in clients["spec"]["egress"] if one["ports"] == ports)
    pods, v4, v6 = rule["to"]
    assert pods == {"namespaceSelector": {}}
    assert v4["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    assert "fe80::/10" in v6["ipBlock"]["except"]


TEMPLATE: dict[str, Any] = {
    "labels": {"team": "vision"},
    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
    "image": "registry.example/own:1.0",
    "imagePullSecrets": [{"name": "own"}],
    "nodeSelector": {"pool": "edge"},
    "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "noisy"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "low",
    "securityContext": {"runAsUser": 1001},
}


def pods_of(resource: dict[str, Any], settings: Settings) -> dict[str, dict[str, Any]]:
    """Class, or coordinator, to the template of its pods."""
    return {
        item["metadata"]["labels"].get(names.CLASS, "coordinator"): item["spec"]["template"]
        for item in everything(resource, settings)
        if item["kind"] == "Deployment"
    }


def test_a_pod_template_is_in_the_pods_of_its_class_alone(
    resource: dict[str, Any], settings: Settings
) -> None:
    before = pods_of(resource, settings)
    resource["spec"]["deviceClasses"][0]["template"] = TEMPLATE
    after = pods_of(resource, settings)
    assert {name for name in after if after[name] != before[name]} == {"phone"}
    pod, labels = after["phone"]["spec"], after["phone"]["metadata"]["labels"]
    for field in ("nodeSelector", "affinity", "priorityClassName", "imagePullSecrets"):
        assert pod[field] == TEMPLATE[field]
    assert pod["containers"][0]["image"] == "registry.example/own:1.0"
    assert TEMPLATE["tolerations"][0] in pod["tolerations"]
    assert after["phone"]["metadata"]["annotations"] == TEMPLATE["annotations"]
    assert labels == before["phone"]["metadata"]["labels"] | {"team": "vision"}
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    assert names.CLASS in spread["labelSelector"]["matchLabels"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_a_pod_leaves_a_lost_node_when_its_search_says_and_else_after_half_a_minute(
    resource: dict[str, Any], settings: Settings
) -> None:
    patient = {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 900,
    }
    resource["spec"]["coordinator"] = {"template": {"tolerations": [patient]}}
    found = pods_of(resource, settings)["coordinator"]["spec"]["tolerations"]
    assert {one["key"]: one["tolerationSeconds"] for one in found} == {
        "node.kubernetes.io/unreachable": 900,
        "node.kubernetes.io/not-ready": 30,
    }


def test_the_charts_template_fills_what_a_searchs_leaves_out_and_is_frozen(
    resource: dict[str, Any], settings: Settings
) -> None:
    chart = PodTemplate(
        node_selector={"pool": "ml"},
        labels={"cost": "7"},
        security_context=PodIds(),
    )
    settings = settings.model_copy(update={"defaults": Defaults(template=chart)})
    resource["spec"] |= {
        "storage": {"endpoint": "http://minio:9000", "bucket": "fednas", "secretName": "minio"}
    }
    resource["spec"]["deviceClasses"][0]["template"] = {"nodeSelector": {"pool": "edge"}}
    (config_map, *_) = everything(resource, settings)
    frozen = json.loads(config_map["data"][names.SPEC_FILE])["spec"]
    phone, hub = (device_class["template"] for device_class in frozen["deviceClasses"])
    assert (phone["nodeSelector"], hub["nodeSelector"]) == ({"pool": "edge"}, {"pool": "ml"})
    assert frozen["coordinator"]["template"] == hub
    for pod in pods_of(resource, settings).values():
        assert pod["metadata"]["labels"]["cost"] == "7"
        assert "runAsUser" not in pod["spec"]["securityContext"]


def test_a_store_and_a_tracking_server_of_ones_own_are_known_to_those_who_ask_them(
    resource: dict[str, Any], settings: Settings
) -> None:
    resource["spec"]["storage"] = {
        "endpoint": "https://s3.example.org",
        "bucket": "other",
        "secretName": "keys",
        "region": "eu-central-1",
        "ca": {"configMap": "corp"},
    }
    resource["spec"]["tracking"] = {
        "uri": "https://mlflow.example.org",
        "secretName": "login",
        "ca": {"secret": "mlflow-ca"},
    }
    pods = {name: one["spec"] for name, one in pods_of(resource, settings).items()}
    containers = {name: pod["containers"][0] for name, pod in pods.items()}
    for name, container in containers.items():
        values = {entry["name"]: entry.get("value") for entry in container["env"]}
        path = values["SSL_CERT_FILE"]
        (mount,) = (one for one in container["volumeMounts"] if one["name"] == "store-ca")
        (volume,) = (one for one in pods[name]["volumes"] if one["name"] == "store-ca")
        assert path == f"{mount['mountPath']}/ca.crt"
        assert mount["readOnly"]
        assert volume["configMap"]["name"] == "corp"
    coordinator = containers.pop("coordinator")
    values = {entry["name"]: entry for entry in coordinator["env"]}
    assert values["REQUESTS_CA_BUNDLE"]["value"] == "/etc/fednas-tracking-ca/ca.crt"
    assert coordinator["envFrom"] == [{"secretRef": {"name": "login"}}]
    folder = coordinator["args"][coordinator["args"].index("--login") + 1]
    (mount,) = (one for one in coordinator["volumeMounts"] if one["mountPath"] == folder)
    (volume,) = (v for v in pods["coordinator"]["volumes"] if v["name"] == mount["name"])
    assert volume["secret"] == {"secretName": "login", "optional": True}
    token = values["AWS_SESSION_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert token == {"name": "keys", "key": "AWS_SESSION_TOKEN", "optional": True}
    for client in containers.values():
        assert "envFrom" not in client
        assert not {"REQUESTS_CA_BUNDLE", "AWS_SESSION_TOKEN"} & {e["name"] for e in client["env"]}


def test_pods_reach_the_name_servers_where_the_administrator_says_that_they_are(
    resource: dict[str, Any], settings: Settings
) -> None:
    openshift = Egress(ports=(53, 5353), peers=({"ipBlock": {"cidr": "10.0.0.10/32"}},))
    settings = settings.model_copy(update={"dns_egress": openshift})
    rule = {
        "ports": [
            {"protocol": protocol, "port": port}
            for port in (53, 5353)
            for protocol in ("UDP", "TCP")
        ],
        "to": [{"ipBlock": {"cidr": "10.0.0.10/32"}}],
    }
    policies = {
        item["metadata"]["name"].split("-")[2]: item["spec"]["egress"]
        for item in everything(resource, settings)
        if item["kind"] == "NetworkPolicy"
    }
    assert {name: rule in egress for name, egress in policies.items()} == {
        "deny": False,
        "coordinator": True,
        "clients": True,
    }


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        (None, {"cpu": "100m", "memory": "512Mi"}, None),
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
            {"cpu": "2m", "memory": "512Mi"},
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


def test_the_coordinator_asks_for_its_memory_limit_and_never_for_more_than_its_limits() -> None:
    small = coordinator_resources({"limits": {"cpu": "100m", "memory": "300Mi"}})
    assert small["requests"] == {"cpu": "100m", "memory": "300Mi"}
    large = coordinator_resources({"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}})
    assert large["requests"] == {"cpu": "1", "memory": "4Gi"}
    assert coordinator_resources(None) == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"memory": "1Gi"},
    }


@pytest.mark.parametrize(
    ("given", "workers"),
    [
        (None, 1),
        ({"requests": {"cpu": "3500m"}}, 4),
        ({"limits": {"cpu": "500m"}}, 1),
        ({"limits": {"cpu": "4"}, "requests": {"cpu": "1"}}, 4),
        ({"limits": {"memory": "64Gi"}}, 1),
    ],
)
def test_a_class_without_a_limit_of_cpu_has_the_workers_that_it_asks_for(
    given: dict[str, Any] | None, workers: int
) -> None:
    assert max_workers(client_resources(given)) == workers


def test_the_pods_of_the_smallest_file_are_bounded_in_workers_and_in_what_they_keep(
    resource: dict[str, Any], settings: Settings
) -> None:
    for device_class in resource["spec"]["deviceClasses"]:
        del device_class["resources"]
    pods = [
        item["spec"]["template"]["spec"]
        for item in everything(resource, settings)
        if item["kind"] == "Deployment"
    ]
    assert len(pods) == 3
    for pod in pods:
        (container,) = pod["containers"]
        assert container["args"][-2:] == ["--max-workers", "1"]
        scratch = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert scratch == [{"sizeLimit": "2Gi"}, {"sizeLimit": "1Gi"}]
        if "client" in container["args"]:
            kept = container["args"][container["args"].index("--cache-mib") + 1]
            assert int(kept) << 20 < 2 << 30, "well below the size at which the pod is evicted"


def test_the_coordinator_listens_on_addresses_of_either_family(
    resource: dict[str, Any], settings: Settings
) -> None:
    (container,) = pods_of(resource, settings)["coordinator"]["spec"]["containers"]
    listens = container["args"][container["args"].index("--listen") + 1]
    assert listens == f"*:{names.PORT}"


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


def test_metrics_of_the_coordinator_alone_are_for_whom_the_administrator_names(
    resource: dict[str, Any], settings: Settings
) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    settings = settings.model_copy(update={"metrics_ingress": (peer,)})
    let_in = {
        item["metadata"]["name"]
        for item in everything(resource, settings)
        if item["kind"] == "NetworkPolicy"
        and any(peer in rule["from"] for rule in item["spec"]["ingress"])
    }
    assert let_in == {"two-classes-coordinator-0b1f2a"}
