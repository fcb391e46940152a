"""The whole line: apply -> pods with real limits -> ladder in the bucket -> decisions in MLflow.

The coordinator, one client pod and the operator are each deleted once in mid-search; the ladder is
that of `fednas run` of the same file all the same.
"""

from __future__ import annotations

import base64
import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml

import fednas
from fednas.data import load_dataset
from fednas.spec import quantity
from fednas.training import normalise
from tests.e2e.conftest import Installed
from tests.e2e.kube import ROOT, SEARCH, Namespace, sample, wait

pytestmark = pytest.mark.e2e

SAMPLE = "manifests/samples/heterogeneous.yaml"
MINUTES = 60.0


@dataclass(frozen=True)
class Line:
    """What one search went through."""

    uid: str
    limits: dict[str, tuple[int, float]]
    seconds_to_first_round: float
    status: dict[str, Any]
    secrets: list[str]
    diagnosis: Path


@pytest.fixture(scope="module")
def line(
    installed: Installed, start_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    ns = installed.ns
    with ns.forward("fednas-minio", 9000) as endpoint:
        for source, target in (
            (str(ROOT / "examples/cifar10"), "s3://fednas/datasets/cifar10-sample"),
            (str(start_weights), "s3://fednas/start/mobilenet_v1-0.25.safetensors"),
        ):
            installed.fednas("push", source, target, "--endpoint", endpoint)
    ns("delete", SEARCH, "line", "--ignore-not-found", "--timeout=60s")
    began = time.monotonic()
    search = sample(SAMPLE, "line")
    uid = ns.apply(search)
    wait("the first round", 300, lambda: ns.status("line").get("rounds"))
    first = time.monotonic() - began
    limits = {
        name: _cgroup(ns, ns.pods(uid, "client", name)[0]["metadata"]["name"])
        for name in (one["name"] for one in search["spec"]["deviceClasses"])
    }
    secrets = _values(ns.list("secrets", f"fednas.dev/uid={uid}"))
    diagnosis = tmp_path_factory.mktemp("line") / "line.tar.gz"
    installed.fednas("diagnose", "line", "-n", ns.name, "--out", str(diagnosis))
    for delete in (_coordinator, _client, _operator):
        rounds = ns.status("line").get("rounds", 0)
        delete(ns, uid)
        wait("the search to go on", 600, lambda before=rounds: _moved(ns, before))
    status = ns.await_end("line", 20 * MINUTES)
    yield Line(uid, limits, first, status, secrets, diagnosis)
    ns("delete", SEARCH, "line", "--ignore-not-found", "--timeout=60s")


def _moved(ns: Namespace, rounds: int) -> bool:
    status = ns.status("line")
    return status.get("rounds", 0) > rounds or status.get("phase") == "Complete"


def _coordinator(ns: Namespace, uid: str) -> None:
    _delete(ns, ns.pods(uid, "coordinator"))


def _client(ns: Namespace, uid: str) -> None:
    _delete(ns, ns.pods(uid, "client", "phone"))


def _operator(ns: Namespace, uid: str) -> None:
    _delete(ns, ns.list("pods", "app.kubernetes.io/component=operator"))


def _delete(ns: Namespace, pods: list[dict[str, Any]]) -> None:
    assert pods
    ns("delete", "pod", pods[0]["metadata"]["name"], "--wait=false", "--grace-period=0", "--force")


CGROUP = """
cd /sys/fs/cgroup
if [ -e memory.max ]; then cat memory.max cpu.max
else cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us; fi
"""


def _cgroup(ns: Namespace, pod: str) -> tuple[int, float]:
    """Bytes of memory and cores that a pod's container may use, read inside it."""
    memory, quota, period = ns("exec", pod, "--", "sh", "-c", CGROUP).split()
    return int(memory), int(quota) / int(period)


def test_each_class_is_held_to_its_limits(line: Line) -> None:
    spec = yaml.safe_load((ROOT / SAMPLE).read_text(encoding="utf-8"))["spec"]
    for device_class in spec["deviceClasses"]:
        limits = device_class["resources"]["limits"]
        memory, cores = line.limits[device_class["name"]]
        assert memory == quantity(limits["memory"])
        assert cores == pytest.approx(float(quantity(limits["cpu"])))
    assert len(set(line.limits.values())) == len(line.limits) == 3


def test_the_line_of_kubectl_get_tells_the_story(line: Line, ns: Namespace) -> None:
    header, row = ns("get", SEARCH, "line").splitlines()
    print(f"apply to first round: {line.seconds_to_first_round:.1f} s", header, row, sep="\n")
    assert "Complete" in row
    assert line.status["display"]["share"] in row


def test_the_ladder_is_that_of_fednas_run(
    line: Line, installed: Installed, start_weights: Path, tmp_path: Path
) -> None:
    local = sample(SAMPLE, "line")
    local["spec"]["model"]["initial"] = {"weights": str(start_weights)}
    local["spec"]["data"]["source"] = str(ROOT / "examples/cifar10")
    file = tmp_path / "line.yaml"
    file.write_text(yaml.safe_dump(local), encoding="utf-8")
    installed.fednas("run", str(file), "--dir", str(tmp_path / "run"))
    reference = json.loads(installed.fednas("report", str(tmp_path / "run"), "-o", "json"))
    with installed.ns.forward("fednas-minio", 9000) as endpoint:
        uri = f"s3://fednas/ladder/{line.uid}"
        found = json.loads(installed.fednas("report", uri, "-o", "json", endpoint=endpoint))
        by_name = ("report", "line", "-n", installed.ns.name, "-o", "json")
        assert json.loads(installed.fednas(*by_name, endpoint=endpoint)) == found
    assert len(reference["ladder"]) >= 3
    assert found["ladder"] == reference["ladder"]
    assert found["decisions"] == reference["decisions"]
    assert [rung["sha256"] for rung in line.status["ladder"]] == [
        rung["sha256"] for rung in reference["ladder"]
    ]


def test_a_diagnosis_has_state_events_and_logs_and_no_secret(
    line: Line, installed: Installed
) -> None:
    with tarfile.open(line.diagnosis) as archive:
        files = {name: _text(archive, name) for name in archive.getnames()}
    assert "missing.txt" not in files, files["missing.txt"]
    assert json.loads(files["search.json"])["metadata"]["uid"] == line.uid
    children = json.loads(files["children.json"])
    pods = [one["metadata"]["name"] for one in children if one["kind"] == "Pod"]
    assert {"ConfigMap", "Deployment", "NetworkPolicy", "Pod"} <= {c["kind"] for c in children}
    logs = {pod: files[f"logs/{pod}.log"].strip() for pod in pods}
    assert any(log for pod, log in logs.items() if "coordinator" in pod)
    assert any(log for pod, log in logs.items() if "coordinator" not in pod)  # a slow one has none
    assert {event["involvedObject"]["name"] for event in json.loads(files["events.json"])} >= {
        "line"
    }
    (log,) = (text for name, text in files.items() if name.startswith("operator/"))
    assert f"{installed.ns.name}/line" in log
    assert line.secrets
    for secret in (installed.credentials["AWS_SECRET_ACCESS_KEY"], *line.secrets):
        assert not [name for name, text in files.items() if secret in text]


def _text(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None
    return file.read().decode()


def _values(secrets: list[dict[str, Any]]) -> list[str]:
    return [
        base64.b64decode(value).decode()
        for secret in secrets
        for value in (secret.get("data") or {}).values()
    ]


@pytest.fixture
def result(
    line: Line, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> Iterator[fednas.Result]:
    """The search as the bucket has it."""
    for key, value in installed.credentials.items():
        monkeypatch.setenv(key, value)
    with installed.ns.forward("fednas-minio", 9000) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        yield fednas.open(f"s3://fednas/ladder/{line.uid}")


def test_every_rung_in_the_bucket_reaches_its_accuracy(result: fednas.Result) -> None:
    dataset = load_dataset(ROOT / "examples/cifar10")
    images = normalise(dataset.test_images)
    labels = torch.from_numpy(dataset.test_labels)
    for rung in result.ladder:
        with torch.no_grad():
            network = rung.load()
            answers = torch.cat([network(part).argmax(1) for part in images.split(500)])
            right = (answers == labels).float().mean().item()
        print(f"rung {rung.rung}: {right:.4f}, reported {rung.accuracy:.4f}")
        assert right == pytest.approx(rung.accuracy, abs=0.00011), "one image of 10,000 at most"


def test_every_round_and_every_candidate_is_in_mlflow(
    line: Line, installed: Installed, result: fednas.Result
) -> None:
    installed.ns.await_reason("line", "Tracked", "Delivered", 120)
    run_id = installed.ns.status("line")["trackingRunID"]
    with installed.ns.forward("fednas-mlflow", 5000) as url:
        api = f"{url}/api/2.0/mlflow"
        run = httpx.get(f"{api}/runs/get", params={"run_id": run_id}).json()["run"]
        history = httpx.get(
            f"{api}/metrics/get-history",
            params={"run_id": run_id, "metric_key": "round/candidates"},
        ).json()["metrics"]
        decisions, rounds = (
            httpx.get(
                f"{url}/get-artifact", params={"run_uuid": run_id, "path": f"{name}.json"}
            ).json()
            for name in ("decisions", "rounds")
        )
    assert run["info"]["status"] == "FINISHED"
    clients = {_place(row) for row in result.view.rounds if row["clients"]}
    trained = [row for row in result.view.rounds if row["iteration"] and _place(row) in clients]
    assert sum(int(point["value"]) for point in history if int(point["step"])) == len(trained)
    assert len(rounds["data"]) == len(result.view.rounds)
    fates = _column(decisions, "outcome")
    assert fates == [row["outcome"] for row in result.view.decisions]
    assert "dropped" in fates


def _place(row: dict[str, Any]) -> tuple[int, str, int]:
    return row["iteration"], row["phase"], row["round"]


def _column(table: dict[str, Any], name: str) -> list[Any]:
    """One column of a table as MLflow keeps it."""
    return [row[table["columns"].index(name)] for row in table["data"]]


def test_no_child_is_left_over(line: Line, ns: Namespace) -> None:
    ns.await_reason("line", "Tracked", "Delivered", 120)
    wait("the children to go", 90, lambda: not ns.children(line.uid))
