"""A search goes on at another store and another tracking server, moved while it is suspended."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from minio import Minio
from minio.datatypes import Object

from tests.e2e.conftest import Installed, helm, image_values
from tests.e2e.kube import ROOT, SEARCH, Namespace, kubectl, sample, wait

pytestmark = pytest.mark.e2e

QUICK = "manifests/samples/quickstart.yaml"
ELSEWHERE = Namespace("fednas-e2e-elsewhere")
LONGER: dict[str, Any] = {"target": {"macs": {"share": 0.4}}}
FROM_SEARCHES = (
    '[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "fednas"}}}]'
)


@pytest.fixture
def elsewhere() -> Iterator[dict[str, str]]:
    """Another store and tracking server, of a release that watches no search; its credentials."""
    kubectl("create", "namespace", ELSEWHERE.name)
    values = ["crd.install=false", "rbac.aggregate=false", "minio.enabled=true,mlflow.enabled=true"]
    values += [f"operator.namespaces={{{ELSEWHERE.name}}}"]
    arguments = [part for value in values for part in ("--set", value)]
    for server in ("minio", "mlflow"):
        arguments += ["--set-json", f"{server}.allowFrom={FROM_SEARCHES}"]
    chart = str(ROOT / "charts/fednas")
    try:
        helm(
            *("install", "fednas", chart, "--wait", "--timeout", "5m", *arguments),
            *image_values(),
            namespace=ELSEWHERE.name,
        )
        secret = wait("its Secret", 60, lambda: ELSEWHERE.get("secret", "fednas-minio"))
        yield dict(secret["data"])
    finally:
        kubectl("delete", "namespace", ELSEWHERE.name, "--timeout=120s")


@pytest.fixture
def moved(ns: Namespace) -> Iterator[str]:
    """The uid of a search that is under way."""
    yield ns.apply(sample(QUICK, "moved", **LONGER))
    ns("delete", SEARCH, "moved", "--ignore-not-found", "--timeout=60s")
    ns("delete", "secret", "moved-bucket", "--ignore-not-found")


def test_a_search_whose_servers_are_moved_while_it_is_suspended_comes_to_the_same_ladder(
    installed: Installed, elsewhere: dict[str, str], moved: str, tmp_path: Path
) -> None:
    ns, uid = installed.ns, moved
    wait("a rung", 120, lambda: ns.status("moved").get("iteration"))
    _patch(ns, {"suspend": True})
    ns.await_reason("moved", "Suspended", "Suspended", 60)
    wait("the pods to go", 60, lambda: not ns.list("pods", f"fednas.dev/uid={uid}"))
    assert "Complete" not in ns.status("moved")["phase"], "it ended before it was suspended"

    with ns.forward("fednas-minio", 9000) as old, ELSEWHERE.forward("fednas-minio", 9000) as new:
        left = _bucket(old, installed.credentials)
        taken = _bucket(
            new, {key: base64.b64decode(one).decode() for key, one in elsewhere.items()}
        )
        parts = [f"{part}/{uid}/" for part in ("journal", "work", "ladder")]
        before = _state(left, parts)
        assert any(key.startswith("journal/") for key in before)
        for key in before:
            _copy(left, taken, key)
        copied = _state(taken, parts)
        ns("apply", "-f", "-", stdin=json.dumps(_secret("moved-bucket", elsewhere)))
        _patch(
            ns,
            {
                "suspend": False,
                "storage": {
                    "endpoint": f"http://fednas-minio.{ELSEWHERE.name}.svc:9000",
                    "bucket": "fednas",
                    "secretName": "moved-bucket",
                },
                "tracking": {"uri": f"http://fednas-mlflow.{ELSEWHERE.name}.svc:5000"},
            },
        )
        status = ns.await_end("moved", 300)
        ns.await_reason("moved", "Tracked", "Delivered", 120)
        assert _state(left, parts) == before, "something was written to the store that it left"
        after = _state(taken, parts)
    records = _records(copied)
    assert records
    assert records.items() < _records(after).items(), "its journal was not gone on with"
    unmoved = _unmoved(installed, tmp_path)
    assert [rung["sha256"] for rung in status["ladder"]] == [rung["sha256"] for rung in unmoved]
    with ELSEWHERE.forward("fednas-mlflow", 5000) as url:
        tracked = _tracked(url, status["trackingRunID"])
    assert tracked == {rung["rung"]: rung["accuracy"] for rung in unmoved}


def _patch(ns: Namespace, spec: dict[str, Any]) -> None:
    ns("patch", SEARCH, "moved", "--type=merge", "-p", json.dumps({"spec": spec}))


def _secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def _bucket(endpoint: str, credentials: dict[str, str]) -> Minio:
    return Minio(
        endpoint.removeprefix("http://"),
        access_key=credentials["AWS_ACCESS_KEY_ID"],
        secret_key=credentials["AWS_SECRET_ACCESS_KEY"],
        secure=False,
    )


def _state(store: Minio, prefixes: list[str]) -> dict[str, str]:
    """Key, and when and what was written last, of each object below the prefixes."""
    found: list[Object] = [
        one for prefix in prefixes for one in store.list_objects("fednas", prefix, recursive=True)
    ]
    return {str(one.object_name): f"{one.last_modified} {one.etag}" for one in found}


def _records(state: dict[str, str]) -> dict[str, str]:
    """Of the journal; what lies in work/ goes when a search ends."""
    return {
        key: one
        for key, one in state.items()
        if key.startswith("journal/") and key.endswith(".json")
    }


def _copy(source: Minio, target: Minio, key: str) -> None:
    answer = source.get_object("fednas", key)
    try:
        target.put_object("fednas", key, answer, int(answer.headers["Content-Length"]))
    finally:
        answer.close()
        answer.release_conn()


def _unmoved(installed: Installed, folder: Path) -> list[dict[str, Any]]:
    """The ladder of `fednas run` of the same file."""
    file = folder / "moved.yaml"
    file.write_text(yaml.safe_dump(sample(QUICK, "moved", **LONGER)), encoding="utf-8")
    installed.fednas("run", str(file), "--dir", str(folder / "run"))
    report = json.loads(installed.fednas("report", str(folder / "run"), "-o", "json"))
    ladder: list[dict[str, Any]] = report["ladder"]
    return ladder


def _tracked(url: str, run_id: str) -> dict[int, float]:
    """Rung -> accuracy, of a finished run."""
    api = f"{url}/api/2.0/mlflow"
    run = httpx.get(f"{api}/runs/get", params={"run_id": run_id}).json()["run"]
    assert run["info"]["status"] == "FINISHED"
    query = {"run_id": run_id, "metric_key": "accuracy"}
    history = httpx.get(f"{api}/metrics/get-history", params=query).json()["metrics"]
    return {point["step"]: point["value"] for point in history}
