"""Searches that end while a part of the system is away."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.conftest import Installed
from tests.e2e.kube import SEARCH, Namespace, sample, wait

pytestmark = pytest.mark.e2e

QUICK = "manifests/samples/quickstart.yaml"


def test_a_search_without_mlflow_ends_and_delivers_every_metric_once_when_it_is_back(
    installed: Installed,
) -> None:
    ns = installed.ns
    ns.scale("fednas-mlflow", 0)
    try:
        uid = ns.apply(sample(QUICK, "untracked"))
        ns.await_end("untracked", 300)
        wait("the clients to go", 60, lambda: not ns.pods(uid, "client"))
        assert ns.condition("untracked", "Tracked") is not None
        assert ns.pods(uid, "coordinator"), "it waits for the tracking server"
    finally:
        ns.scale("fednas-mlflow", 1)
    ns.await_reason("untracked", "Tracked", "Delivered", 180)
    wait("the children to go", 90, lambda: not ns.children(uid))
    status = ns.status("untracked")
    with ns.forward("fednas-mlflow", 5000) as url:
        api = f"{url}/api/2.0/mlflow"
        run = httpx.get(f"{api}/runs/get", params={"run_id": status["trackingRunID"]}).json()
        keys = [metric["key"] for metric in run["run"]["data"]["metrics"]]
        assert len(keys) == len(set(keys)) > 0
        for key in keys:
            history = httpx.get(
                f"{api}/metrics/get-history",
                params={"run_id": status["trackingRunID"], "metric_key": key},
            ).json()["metrics"]
            steps = [point["step"] for point in history]
            assert len(steps) == len(set(steps)), f"{key} was logged twice"
    ns("delete", SEARCH, "untracked", "--timeout=60s")


def test_a_search_deleted_while_the_operator_is_away_takes_its_children_along(
    ns: Namespace,
) -> None:
    uid = ns.apply(sample(QUICK, "orphan"))
    wait("its pods", 90, lambda: ns.pods(uid, "client"))
    ns.scale("fednas-operator", 0)
    try:
        ns("delete", SEARCH, "orphan", "--timeout=5s")
        wait("the children to go", 60, lambda: not ns.children(uid))
    finally:
        ns.scale("fednas-operator", 1)
    assert ns.children(uid) == []


def test_a_suspended_search_has_no_pods_and_goes_on_when_resumed(ns: Namespace) -> None:
    uid = ns.apply(sample(QUICK, "paused"))
    wait("its pods", 90, lambda: ns.pods(uid, "client"))
    _suspend(ns, "paused", "true")
    wait("the pods to go", 60, lambda: not ns.list("pods", f"fednas.dev/uid={uid}"))
    ns.await_reason("paused", "Suspended", "Suspended", 30)
    _suspend(ns, "paused", "false")
    ns.await_end("paused", 300)
    ns("delete", SEARCH, "paused", "--timeout=60s")


def _suspend(ns: Namespace, name: str, value: str) -> None:
    ns("patch", SEARCH, name, "--type=merge", "-p", f'{{"spec": {{"suspend": {value}}}}}')
