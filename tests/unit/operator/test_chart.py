"""The chart, rendered by helm; left out where helm is not in the PATH."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import fednas
from fednas.spec import load_spec
from fednas_operator.settings import Settings

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/fednas"
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
@pytest.mark.parametrize(
    "value",
    [
        "operator.replicas=2",
        "defaults.storage.endpoint=minio:9000",
        "defaults.storage.endpoint=https://s3.example.org",
        "minio.secretKey=short",
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
def test_the_operator_may_make_secrets_but_never_read_them() -> None:
    role = one(rendered(), "ClusterRole", "fednas-operator")
    verbs = [set(rule["verbs"]) for rule in role["rules"] if "secrets" in rule["resources"]]
    assert verbs == [{"create", "delete"}]
    assert all("*" not in rule["verbs"] + rule["resources"] for rule in role["rules"])


@needs_helm
def test_an_operator_of_some_namespaces_has_no_rights_elsewhere() -> None:
    objects = rendered("operator.namespaces={a,b}", "rbac.aggregate=false")
    assert not [item for item in objects if item["kind"].startswith("ClusterRole")]
    roles = [item for item in objects if item["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["a", "b"]
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


@pytest.mark.parametrize("sample", ["quickstart", "heterogeneous"])
def test_the_samples_can_be_run(sample: str) -> None:
    search = load_spec(ROOT / f"manifests/samples/{sample}.yaml")
    assert search.metadata.name == sample
    assert search.spec.warnings() == []
    limits = {entry.resources.limits.memory for entry in search.spec.device_classes}
    assert len(limits) == 2
