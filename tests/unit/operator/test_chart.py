"""The chart, rendered by helm; left out where helm is not in the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import fednas
from fednas.spec import Authorities, PodIds, PodTemplate, Storage, Tracking, load_spec
from fednas_operator import names
from fednas_operator.settings import Settings
from tests.values import CHART, values_in_the_docs

ROOT = Path(__file__).parents[3]
TRYING_OUT = ("minio.enabled=true", "mlflow.enabled=true")

needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not in the PATH")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["helm", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@cache
def rendered(*values: str) -> list[dict[str, Any]]:
    sets = [part for value in values for part in ("--set", value)]
    result = helm("template", "fednas", str(CHART), "--namespace", "fednas", *sets)
    assert result.returncode == 0, result.stderr
    return [item for item in yaml.safe_load_all(result.stdout) if item]


def is_test(item: dict[str, Any]) -> bool:
    """Whether only `helm test` makes it."""
    return item["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (
        item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name
    )
    return found


def settings_of(objects: list[dict[str, Any]]) -> Settings:
    text = one(objects, "ConfigMap", "fednas-operator")["data"]["operator.json"]
    return Settings.model_validate({**yaml.safe_load(text), "masterKey": "x" * 32})


@needs_helm
def test_helm_finds_nothing_to_complain_of() -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout


def test_the_chart_installs_the_images_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == fednas.__version__


@needs_helm
def test_the_settings_are_what_the_operator_reads() -> None:
    settings = settings_of(rendered(*TRYING_OUT))
    assert settings.image.name == "localhost/fednas-runtime:" + fednas.__version__
    assert settings.defaults.storage == {
        "endpoint": "http://fednas-minio.fednas.svc:9000",
        "bucket": "fednas",
        "secretName": "fednas-minio",
    }
    assert settings.store_egress.ports == (9000,)
    assert settings.tracking_egress.ports == (5000,)


def test_the_values_of_a_pod_template_are_checked_as_the_searches_own_are() -> None:
    path = CHART / "values.schema.json"
    committed = json.loads(path.read_text(encoding="utf-8"))
    schema = PodTemplate.model_json_schema(ref_template="#/definitions/{model}")
    definitions = schema.pop("$defs")
    expected = committed | {"definitions": {**definitions, "PodTemplate": schema}}
    if os.environ.get("FEDNAS_GOLDEN") == "write":
        path.write_text(json.dumps(committed := expected, indent=1) + "\n", encoding="utf-8")
    assert committed == expected, "FEDNAS_GOLDEN=write makes it anew"


@needs_helm
def test_a_pod_template_of_the_chart_reaches_the_operator() -> None:
    settings = settings_of(
        rendered(
            "defaults.template.nodeSelector.pool=ml",
            "defaults.template.tolerations[0].key=ml",
            "defaults.template.tolerations[0].operator=Exists",
        )
    )
    template = settings.defaults.template
    assert template.node_selector == {"pool": "ml"}
    assert template.tolerations is not None
    assert template.tolerations[0].key == "ml"
    ids = template.security_context
    assert ids is not None
    assert (ids.run_as_user, ids.run_as_group, ids.fs_group) == (65532, 65532, 65532)


@needs_helm
def test_user_and_group_ids_can_be_left_to_openshift() -> None:
    ids = ("runAsUser", "runAsGroup", "fsGroup")
    objects = rendered(*TRYING_OUT, *(f"global.securityContext.{name}=null" for name in ids))
    pods = [item["spec"]["template"]["spec"] for item in objects if item["kind"] == "Deployment"]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    assert settings_of(objects).defaults.template.security_context == PodIds()


@needs_helm
def test_name_servers_that_listen_elsewhere_are_given_by_values() -> None:
    assert settings_of(rendered()).dns_egress.ports == ()
    assert settings_of(rendered("networkPolicy.dns.ports={53,5353}")).dns_egress.ports == (53, 5353)


@needs_helm
def test_the_policies_name_the_pods_that_the_chart_makes() -> None:
    objects = rendered(*TRYING_OUT)
    settings = settings_of(objects)
    for name, egress in (("minio", settings.store_egress), ("mlflow", settings.tracking_egress)):
        pods = one(objects, "Deployment", f"fednas-{name}")["spec"]["template"]["metadata"]
        (peer,) = egress.peers
        assert peer["podSelector"]["matchLabels"].items() <= pods["labels"].items()
    operator = one(objects, "Deployment", "fednas-operator")["spec"]["template"]["metadata"]
    assert settings.operator.labels.items() <= operator["labels"].items()


@needs_helm
def test_an_external_store_is_given_by_values() -> None:
    settings = settings_of(
        rendered(
            "defaults.storage.endpoint=https://s3.example.org",
            "defaults.storage.secretName=bucket",
            "networkPolicy.store.peers[0].ipBlock.cidr=192.0.2.0/24",
        )
    )
    assert settings.defaults.storage is not None
    assert settings.defaults.storage["secretName"] == "bucket"
    assert settings.defaults.tracking is None
    assert settings.store_egress.peers == ({"ipBlock": {"cidr": "192.0.2.0/24"}},)


@needs_helm
def test_the_servers_that_searches_may_name_are_given_by_values() -> None:
    assert settings_of(rendered()).allowed_endpoints == ()
    settings = settings_of(rendered("allowedEndpoints={https://*.example.org}"))
    assert settings.allowed_endpoints == ("https://*.example.org",)


@needs_helm
def test_a_private_authority_and_logins_are_given_by_values() -> None:
    defaults = settings_of(
        rendered(
            "defaults.storage.endpoint=https://s3.example.org",
            "defaults.storage.secretName=bucket",
            "defaults.storage.region=eu-central-1",
            "defaults.storage.ca.configMap=corp",
            "defaults.tracking.uri=https://mlflow.example.org",
            "defaults.tracking.secretName=login",
        )
    ).defaults
    assert Storage.model_validate(defaults.storage).ca == Authorities(config_map="corp")
    assert Storage.model_validate(defaults.storage).region == "eu-central-1"
    assert Tracking.model_validate(defaults.tracking).secret_name == "login"


@needs_helm
@pytest.mark.parametrize(
    "value",
    [
        "operator.replicas=2",
        "defaults.storage.endpoint=minio:9000",
        "defaults.storage.endpoint=https://s3.example.org",
        "minio.secretKey=short",
        "allowedEndpoints={minio:9000}",
        "defaults.template.hostNetwork=true",
        "defaults.template.securityContext.runAsUser=0",
        "defaults.template.labels.fednas\\.dev/uid=1.5 x",
    ],
)
def test_values_that_cannot_work_are_refused(value: str) -> None:
    result = helm("template", "fednas", str(CHART), "--set", value)
    assert result.returncode != 0


@needs_helm
def test_the_resource_definition_is_kept_when_the_chart_goes() -> None:
    crd = one(rendered(), "CustomResourceDefinition", "federatedsearches.fednas.dev")
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    committed = yaml.safe_load((CHART / "files/crd.yaml").read_text(encoding="utf-8"))
    assert crd["spec"] == committed["spec"]


@needs_helm
def test_all_pods_meet_the_restricted_pod_security_standard() -> None:
    pods = [
        item["spec"]["template"]["spec"]
        for item in rendered(*TRYING_OUT)
        if item["kind"] == "Deployment"
    ]
    assert len(pods) == 3
    for pod in pods:
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@needs_helm
def test_metrics_have_a_port_of_the_operator_and_peers_of_the_coordinators() -> None:
    objects = rendered()
    pod = one(objects, "Deployment", "fednas-operator")["spec"]["template"]["spec"]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert ports["metrics"] == 8082
    assert settings_of(objects).metrics_ingress == ()
    monitoring = "networkPolicy.metrics.peers[0].namespaceSelector.matchLabels.name=monitoring"
    (peer,) = settings_of(rendered(monitoring)).metrics_ingress
    assert peer == {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}


@needs_helm
def test_the_operator_may_make_secrets_and_read_but_its_own_key() -> None:
    objects = rendered()
    (own,) = (item for item in objects if item["kind"] == "Role" and not is_test(item))
    assert own["metadata"]["namespace"] == "fednas"
    assert own["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["fednas-master-key"],
            "verbs": ["get"],
        },
    ]
    role = one(objects, "ClusterRole", "fednas-operator")
    verbs = [set(rule["verbs"]) for rule in role["rules"] if "secrets" in rule["resources"]]
    assert verbs == [{"create", "delete"}]
    assert all("*" not in rule["verbs"] + rule["resources"] for rule in role["rules"])
    with_key = rendered("masterKey.existingSecret=key")
    assert not [item for item in with_key if item["kind"] == "Role" and not is_test(item)]


@needs_helm
def test_an_operator_of_some_namespaces_has_no_rights_elsewhere() -> None:
    objects = rendered("operator.namespaces={a,b}", "rbac.aggregate=false")
    assert not [item for item in objects if item["kind"].startswith("ClusterRole")]
    roles = [item for item in objects if item["kind"] == "Role"]
    assert [(role["metadata"]["name"], role["metadata"]["namespace"]) for role in roles] == [
        ("fednas-operator", "a"),
        ("fednas-operator", "b"),
        ("fednas-operator-secrets", "fednas"),
        ("fednas-test", "a"),
    ]
    container = one(objects, "Deployment", "fednas-operator")["spec"]["template"]["spec"]
    arguments = container["containers"][0]["args"]
    assert [entry for entry in arguments if "namespace" in entry] == [
        "--namespace=a",
        "--namespace=b",
    ]


@needs_helm
def test_the_committed_rbac_is_the_charts() -> None:
    result = helm(
        *("template", "fednas", str(CHART), "--namespace", "fednas", "-s", "templates/rbac.yaml")
    )
    committed = (ROOT / "manifests/rbac/operator.yaml").read_text(encoding="utf-8")
    assert result.stdout == committed, (
        "helm template fednas charts/fednas -n fednas -s templates/rbac.yaml "
        "> manifests/rbac/operator.yaml"
    )


SAMPLES = ROOT / "manifests/samples"


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("*.yaml")))
def test_the_samples_can_be_run(sample: str) -> None:
    search = load_spec(SAMPLES / f"{sample}.yaml")
    assert search.metadata.name == sample
    assert search.spec.warnings() == []
    limits = [entry.resources.limits.memory for entry in search.spec.device_classes]
    assert len(set(limits)) == len(limits) > 1


def test_the_naive_sample_is_the_quickstart_without_what_saves_the_clients_work() -> None:
    naive, quick = (load_spec(SAMPLES / f"{name}.yaml").spec for name in ("naive", "quickstart"))
    quick_strategy, naive_strategy = quick.strategy.net_adapt, naive.strategy.net_adapt
    assert quick_strategy is not None
    assert naive_strategy is not None
    assert naive_strategy.client_groups == 1
    assert naive_strategy.screening.chosen[0] == "none"
    assert naive_strategy.early_drop.chosen[0] == "none"
    saving = ("client_groups", "screening", "early_drop")
    same = {name: getattr(quick_strategy, name) for name in saving}
    assert naive_strategy.model_copy(update=same) == quick_strategy
    assert naive.model_copy(update={"strategy": quick.strategy}) == quick


@needs_helm
def test_the_charts_servers_are_reached_by_the_pods_of_searches_and_reach_nobody() -> None:
    roles = {"minio": ["coordinator", "client"], "mlflow": ["coordinator"]}
    objects = rendered(
        *TRYING_OUT, "operator.namespaces={a,b}", "mlflow.allowFrom[0].ipBlock.cidr=192.0.2.0/24"
    )
    for name, allowed in roles.items():
        spec = one(objects, "NetworkPolicy", f"fednas-{name}")["spec"]
        pods = one(objects, "Deployment", f"fednas-{name}")["spec"]["template"]
        assert spec["podSelector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert "egress" not in spec, "none, and an empty list would be dropped: a change for ever"
        (rule,) = spec["ingress"]
        ports = {entry["containerPort"] for entry in pods["spec"]["containers"][0]["ports"]}
        assert {entry["port"] for entry in rule["ports"]} == ports
        searches, *others = rule["from"]
        (role,) = searches["podSelector"]["matchExpressions"]
        assert (role["key"], role["values"]) == (names.ROLE, allowed)
        (namespace,) = searches["namespaceSelector"]["matchExpressions"]
        assert namespace["values"] == ["a", "b"]
        assert others == ([{"ipBlock": {"cidr": "192.0.2.0/24"}}] if name == "mlflow" else [])


@needs_helm
@pytest.mark.parametrize("version", ["values.yaml's", "secretKey", "existingSecret"])
def test_rendered_twice_without_a_cluster_nothing_changes(version: str) -> None:
    """As Argo CD does, which sees no Secret that is there already."""
    values = {
        "values.yaml's": TRYING_OUT,
        "secretKey": (*TRYING_OUT, "minio.secretKey=given-by-values"),
        "existingSecret": (
            *TRYING_OUT,
            "masterKey.existingSecret=key",
            "minio.existingSecret=bucket",
        ),
    }[version]
    first = rendered(*values)
    rendered.cache_clear()
    assert rendered(*values) == first
    made = [item["metadata"]["name"] for item in first if item["kind"] == "Secret"]
    assert made == (["fednas-minio"] if version == "secretKey" else [])


@needs_helm
def test_secrets_that_are_not_given_are_the_operators_to_make() -> None:
    arguments = operator_arguments(rendered(*TRYING_OUT))
    assert "--master-key-secret=fednas-master-key" in arguments
    assert arguments[-3:] == ["--store-secret", "fednas-minio", "fednas"]
    given = rendered("minio.enabled=true", "minio.secretKey=given-by-values")
    assert "--store-secret" not in operator_arguments(given)


@needs_helm
def test_secrets_of_ones_own_are_mounted_and_not_made() -> None:
    objects = rendered("masterKey.existingSecret=key", "minio.existingSecret=bucket", *TRYING_OUT)
    pod = one(objects, "Deployment", "fednas-operator")["spec"]["template"]["spec"]
    assert {"name": "key", "secret": {"secretName": "key"}} in pod["volumes"]
    assert operator_arguments(objects)[-1] == "--master-key=/etc/fednas-key/key"
    settings = settings_of(objects)
    assert settings.defaults.storage is not None
    assert settings.defaults.storage["secretName"] == "bucket"
    minio = one(objects, "Deployment", "fednas-minio")["spec"]["template"]["spec"]
    (container,) = minio["containers"]
    keys = [
        entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry
    ]
    assert {entry["name"] for entry in keys} == {"bucket"}


def operator_arguments(objects: list[dict[str, Any]]) -> list[str]:
    (container,) = one(objects, "Deployment", "fednas-operator")["spec"]["template"]["spec"][
        "containers"
    ]
    arguments: list[str] = container["args"]
    return arguments


@needs_helm
def test_the_operator_is_probed_where_it_listens_whatever_the_family_of_addresses() -> None:
    objects = rendered()
    assert "--health-host=$(POD_IP)" in operator_arguments(objects)
    (container,) = one(objects, "Deployment", "fednas-operator")["spec"]["template"]["spec"][
        "containers"
    ]
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    assert address in container["env"]


@needs_helm
def test_the_charts_servers_listen_on_addresses_of_either_family() -> None:
    objects = rendered(*TRYING_OUT)
    minio, mlflow = (
        one(objects, "Deployment", f"fednas-{name}")["spec"]["template"]["spec"]["containers"][0]
        for name in ("minio", "mlflow")
    )
    assert minio["command"][-1].endswith(" --address :9000")
    assert "--host=" in mlflow["args"]


@needs_helm
def test_what_helm_test_runs_is_a_search_that_the_schema_takes_and_goes_when_it_succeeds() -> None:
    tests = [item for item in rendered("operator.namespaces={a,b}") if is_test(item)]
    assert sorted(item["kind"] for item in tests) == [
        *("FederatedSearch", "Pod", "Role", "RoleBinding", "ServiceAccount")
    ]
    for item in tests:
        policy = item["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded"
    (resource,) = (item for item in tests if item["kind"] == "FederatedSearch")
    search = load_spec(resource)
    assert (search.metadata.namespace, search.metadata.name) == ("a", "fednas-test")
    assert search.spec.warnings() == []
    pod = one(tests, "Pod", "fednas-test")
    assert pod["metadata"]["namespace"] == "fednas"
    assert pod["spec"]["containers"][0]["command"][3:5] == ["a", "fednas-test"]
    (rule,) = one(tests, "Role", "fednas-test")["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == (["fednas-test"], ["get"])


@needs_helm
def test_monitors_name_ports_that_the_pods_have() -> None:
    assert not [item for item in rendered() if item["kind"] == "PodMonitor"]
    objects = rendered(
        *("podMonitors.enabled=true", "podMonitors.labels.release=prometheus"),
        "operator.namespaces={a,b}",
    )
    operator, coordinators = (
        one(objects, "PodMonitor", f"fednas-{name}") for name in ("operator", "coordinators")
    )
    for monitor in (operator, coordinators):
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
    pod = one(objects, "Deployment", "fednas-operator")["spec"]["template"]
    chosen = operator["spec"]["selector"]["matchLabels"]
    assert chosen.items() <= pod["metadata"]["labels"].items()
    assert operator["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"
    assert coordinators["spec"]["selector"]["matchLabels"] == {names.ROLE: names.COORDINATOR}
    assert coordinators["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}
    (made,) = (item for item in golden_children() if "coordinator" in item["metadata"]["name"])
    assert coordinators["spec"]["podMetricsEndpoints"][0]["port"] in {
        port["name"]
        for container in made["spec"]["template"]["spec"]["containers"]
        for port in container["ports"]
    }


@needs_helm
def test_the_dashboard_is_a_configmap_that_grafana_s_sidecar_finds() -> None:
    assert not [item for item in rendered() if item["metadata"]["name"] == "fednas-dashboard"]
    made = one(rendered("grafanaDashboard.enabled=true"), "ConfigMap", "fednas-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    committed = (CHART / "files/dashboard.json").read_text(encoding="utf-8")
    assert json.loads(made["data"]["fednas.json"]) == json.loads(committed)


def golden_children() -> list[dict[str, Any]]:
    """Deployments of a search, as the operator makes them."""
    text = (Path(__file__).parent / "golden/children.yaml").read_text(encoding="utf-8")
    return [item for item in yaml.safe_load_all(text) if item["kind"] == "Deployment"]


@needs_helm
def test_the_values_in_the_docs_are_taken(tmp_path: Path) -> None:
    found = values_in_the_docs()
    assert len(found) >= 3
    for number, text in enumerate(found):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        linted = helm("lint", "--strict", str(CHART), "--values", str(file))
        assert linted.returncode == 0, text + linted.stdout
        made = helm("template", "fednas", str(CHART), "-n", "fednas", "--values", str(file))
        assert made.returncode == 0, text + made.stderr
        settings_of([item for item in yaml.safe_load_all(made.stdout) if item])
