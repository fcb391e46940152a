"""The CRD in a real API server, under a group of its own so that no installed one is touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fednas.spec import load_spec

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
GROUP = "crd-test.fednas.dev"
CRD = f"federatedsearches.{GROUP}"
TABLE = sorted((ROOT / "tests/manifests_bad").glob("*.yaml"))
VALID = [
    *sorted((ROOT / "examples").glob("*.yaml")),
    *sorted((ROOT / "manifests/samples").glob("*.yaml")),
]


def kubectl(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", "--request-timeout=100s", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def moved(path: Path) -> str:
    """A manifest of ours in the group of this test."""
    return path.read_text().replace("apiVersion: fednas.dev/", f"apiVersion: {GROUP}/")


def apply(text: str, *args: str) -> subprocess.CompletedProcess[str]:
    return kubectl("apply", "-f", "-", *args, stdin=text)


@pytest.fixture(scope="module")
def _crd() -> Iterator[None]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not in the PATH")
    text = (ROOT / "manifests/crd/fednas.dev_federatedsearches.yaml").read_text()
    text = text.replace("federatedsearches.fednas.dev", CRD).replace(
        "group: fednas.dev", f"group: {GROUP}"
    )
    created = apply(text)
    assert created.returncode == 0, created.stderr
    deadline = time.monotonic() + 180
    while kubectl("get", CRD).returncode != 0:  # it is served a little later
        assert time.monotonic() < deadline, "the API server does not serve the CRD"
        time.sleep(0.5)
    yield
    kubectl("delete", "crd", CRD, "--wait=true", "--timeout=60s")


@pytest.fixture
def running(_crd: None) -> Iterator[str]:
    """The name of a search that has started."""
    text = moved(ROOT / "examples/small.yaml").replace("name: small}", "name: crd-test}")
    created = apply(text)
    assert created.returncode == 0, created.stderr
    status = {"status": {"startTime": "2026-01-01T00:00:00Z", "phase": "Searching"}}
    started = kubectl(
        *("patch", CRD, "crd-test", "--subresource=status", "--type=merge"),
        *("-p", json.dumps(status)),
    )
    assert started.returncode == 0, started.stderr
    yield "crd-test"
    kubectl("delete", CRD, "crd-test", "--wait=true")


@pytest.mark.usefixtures("_crd")
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_an_example_is_accepted_and_gets_the_defaults_of_the_models(path: Path) -> None:
    done = apply(moved(path), "--dry-run=server", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec"] == load_spec(path).to_dict()["spec"]


@pytest.mark.usefixtures("_crd")
@pytest.mark.parametrize("path", TABLE, ids=lambda path: path.stem)
def test_a_bad_manifest_is_refused_in_words_that_name_the_field(path: Path) -> None:
    field = path.read_text().splitlines()[0].removeprefix("# ")
    done = apply(moved(path), "--dry-run=server")
    assert done.returncode != 0
    assert field in done.stderr


CHANGES: list[tuple[str, str, Any]] = [
    ("replace", "/spec/seed", 7),
    ("replace", "/spec/model/name", "mobilenet_v1"),
    ("replace", "/spec/model/initial", {"weights": "start.safetensors"}),
    ("replace", "/spec/data/source", "s3://fednas/digits"),
    ("replace", "/spec/target/macs/share", 0.4),
    ("add", "/spec/strategy/netAdapt/filterStep", 4),
    ("replace", "/spec/training/epochs", 2),
    ("replace", "/spec/federation/quorum", 0.5),
    ("replace", "/spec/deviceClasses/0/clients", 9),
    ("replace", "/spec/deviceClasses/0/name", "tablet"),
    ("remove", "/spec/deviceClasses/0/budget", None),
    ("remove", "/spec/deviceClasses/1", None),
    ("add", "/spec/deviceClasses/-", {"name": "tablet", "clients": 1}),
]


CHANGES_WHILE_SUSPENDED: list[tuple[str, str, Any]] = [
    ("add", "/spec/coordinator/resources/limits", {"cpu": "2"}),
    ("add", "/spec/coordinator/template", {"nodeSelector": {"pool": "ml"}}),
    ("add", "/spec/deviceClasses/1/template", {"image": "other"}),
    ("add", "/spec/deviceClasses/1/resources/limits", {"memory": "2Gi"}),
    ("add", "/spec/tracking", {"uri": "http://mlflow:5000"}),
    ("remove", "/spec/tracking", None),
    ("add", "/spec/storage", {"endpoint": "http://s:9000", "bucket": "abc", "secretName": "s"}),
]


def change(name: str, op: str, path: str, value: Any) -> subprocess.CompletedProcess[str]:
    patch = json.dumps([{"op": op, "path": path, "value": value}])
    return kubectl("patch", CRD, name, "--type=json", "-p", patch)


def test_where_a_search_runs_may_change_once_it_is_suspended_and_no_sooner(running: str) -> None:
    for condition in ("False", "True"):
        assert change(running, "add", "/spec/suspend", True).returncode == 0
        suspended = {
            "type": "Suspended",
            "status": condition,
            "reason": "Suspending",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        kubectl(
            *("patch", CRD, running, "--subresource=status", "--type=merge"),
            *("-p", json.dumps({"status": {"conditions": [suspended]}})),
        )
        for op, path, value in CHANGES_WHILE_SUSPENDED:
            done = change(running, op, path, value)
            if condition == "True":
                assert done.returncode == 0, done.stderr
            elif op == "add":
                assert "suspend it first" in done.stderr, path
        for op, path, value in CHANGES:
            assert change(running, op, path, value).returncode != 0, path


@pytest.mark.usefixtures("_crd")
def test_a_file_as_tracking_server_is_refused() -> None:
    text = moved(ROOT / "examples/small.yaml").rstrip() + "\n  tracking: {uri: 'sqlite:///m.db'}\n"
    done = apply(text, "--dry-run=server")
    assert done.returncode != 0
    assert "spec.tracking.uri" in done.stderr


def test_a_search_that_has_started_is_fixed_but_for_suspend_consent_and_pods(running: str) -> None:
    for op, path, value in CHANGES:
        done = change(running, op, path, value)
        field = f"spec.{path.split('/')[2]}"
        assert done.returncode != 0, path
        assert f"{field}: " in done.stderr, path
        assert "once the search has started" in done.stderr, path
    for path, value in (
        ("/spec/suspend", True),
        ("/spec/acceptNewNumerics", True),
        ("/spec/activeDeadlineSeconds", 60),
        ("/spec/ttlSecondsAfterFinished", 0),
        ("/spec/deviceClasses/1/pods", 3),
    ):
        done = change(running, "add", path, value)
        assert done.returncode == 0, done.stderr
