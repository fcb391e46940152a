"""What goes wrong is shown as a condition with a reason that a user can act on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.kube import SEARCH, Namespace, kubectl, sample, wait

pytestmark = pytest.mark.e2e

QUICK = "manifests/samples/quickstart.yaml"


def _classes(**limits: str) -> list[dict[str, Any]]:
    return [{"name": "phone", "clients": 12, "resources": {"limits": limits}}]


@pytest.fixture
def delete(ns: Namespace) -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        ns("delete", SEARCH, name, "--ignore-not-found", "--timeout=60s")


def test_a_secret_that_is_missing_is_named_and_the_search_recovers(
    ns: Namespace, delete: list[str]
) -> None:
    delete.append("no-secret")
    storage = {
        "endpoint": "http://fednas-minio.fednas.svc:9000",
        "bucket": "fednas",
        "secretName": "forgotten",
    }
    ns.apply(sample(QUICK, "no-secret", storage=storage))
    found = ns.await_reason("no-secret", "Degraded", "SecretMissing", 60)
    assert "forgotten" in found["message"]
    right = ns.get("secret", "fednas-minio")
    assert right is not None
    try:
        ns("create", "secret", "generic", "forgotten")
        patch = {"data": right["data"]}
        ns("patch", "secret", "forgotten", "--type=merge", "-p", str(patch).replace("'", '"'))
        ns.await_reason("no-secret", "Degraded", "AsExpected", 120)
    finally:
        ns("delete", "secret", "forgotten")


def test_a_class_that_no_node_can_hold_is_unschedulable(ns: Namespace, delete: list[str]) -> None:
    delete.append("too-big")
    ns.apply(sample(QUICK, "too-big", deviceClasses=_classes(cpu="1", memory="4Ti")))
    found = ns.await_reason("too-big", "Degraded", "Unschedulable", 60)
    assert "class phone" in found["message"]


def test_a_class_too_small_for_torch_is_reported_as_killed(
    ns: Namespace, delete: list[str]
) -> None:
    delete.append("too-small")
    ns.apply(sample(QUICK, "too-small", deviceClasses=_classes(cpu="1", memory="64Mi")))
    found = ns.await_reason("too-small", "Degraded", "OOMKilled", 90)
    assert "class phone" in found["message"]


def test_a_path_on_ones_own_machine_is_not_accepted(ns: Namespace, delete: list[str]) -> None:
    delete.append("local-path")
    uid = ns.apply(sample(QUICK, "local-path", data={"source": "examples/cifar10"}))
    found = ns.await_reason("local-path", "Accepted", "LocalPath", 30)
    assert "spec.data.source" in found["message"]
    assert ns.children(uid) == []


def test_a_quota_that_is_used_up_is_reported(ns: Namespace) -> None:
    other = Namespace("fednas-e2e-quota")
    kubectl("create", "namespace", other.name)
    try:
        other("create", "quota", "small", "--hard=pods=0")
        other.apply(sample(QUICK, "no-quota"))
        other.await_reason("no-quota", "Degraded", "QuotaExceeded", 60)
    finally:
        kubectl("delete", "namespace", other.name, "--timeout=60s")


PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print("reached")
except OSError as error:
    print("refused", error)
"""


def test_policies_let_clients_reach_coordinator_and_store_and_nothing_else(
    ns: Namespace, delete: list[str]
) -> None:
    delete.append("policies")
    uid = ns.apply(sample(QUICK, "policies"))
    wait("its pods", 90, lambda: len(ns.pods(uid, "client")) == 2 and ns.pods(uid, "coordinator"))
    phone = ns.pods(uid, "client", "phone")[0]["metadata"]["name"]
    hub = ns.pods(uid, "client", "hub")[0]

    def answer(pod: str, host: str, port: int) -> str:
        return ns("exec", pod, "--", "python", "-c", PROBE, host, str(port))

    def reached(pod: str, host: str, port: int) -> None:
        wait(f"{host}:{port}", 60, lambda: "reached" in answer(pod, host, port))

    reached(phone, f"policies-coordinator-{uid[:6]}", 8080)
    reached(phone, "fednas-minio", 9000)
    for host, port in (("fednas-mlflow", 5000), ("kubernetes.default.svc", 443)):
        assert "refused" in answer(phone, host, port), f"a client reaches {host}:{port}"
    name, address = hub["metadata"]["name"], hub["status"]["podIP"]
    with _listening(ns, name):
        reached(name, address, 9999)
        assert "refused" in answer(phone, address, 9999), "a client reaches another"


SERVE = ("timeout", "60", "python", "-m", "http.server", "9999", "--directory", "/var/cache")


@contextmanager
def _listening(ns: Namespace, pod: str) -> Iterator[None]:
    """A server on port 9999 of a pod."""
    server = subprocess.Popen(
        [*("kubectl", "--namespace", ns.name, "exec", pod, "--"), *SERVE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait(timeout=10)
