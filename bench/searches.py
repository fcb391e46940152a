"""What hundreds of searches cost the API server and the operator, in a real cluster.

    python bench/searches.py [--namespace fednas] [--release fednas] [--searches 200] [--running 8]
        [--seconds 60] [--out FILE]

Of the searches half are suspended from the start, some run (one tiny class each), and all others
ask for more memory than any node has, so that their pods stay pending. Measured are the operator's
requests (those of service accounts, as API Priority and Fairness counts them: let no other program
use one meanwhile), its CPU time and memory, and how long it takes from the API server's answer to
an edit of `spec.suspend` until the first Deployment is seen scaled down. Needs kubectl, the chart
installed with a default store, and its operator watching the namespace, which should have no
searches; those that it makes it deletes again.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

SEARCHES = "/apis/fednas.dev/v1alpha1/namespaces/{}/federatedsearches"
_TICKS = 100.0
_PAUSE = 0.25


def made_up(name: str, kind: str) -> dict[str, Any]:
    """A search that is ``suspended``, ``pending`` or ``running``."""
    memory = {"limits": {"memory": "4Ti" if kind == "pending" else "768Mi"}}
    return {
        "apiVersion": "fednas.dev/v1alpha1",
        "kind": "FederatedSearch",
        "metadata": {"name": name},
        "spec": {
            "model": {
                "name": "cnn",
                "initial": {"training": {"rounds": 1, "clientsPerRound": 1, "batchSize": 64}},
            },
            "data": {"source": "digits"},
            "target": {"macs": {"share": 0.1}},
            "strategy": {"netAdapt": {"firstStep": 0.01, "stepDecay": 1.0, "clientGroups": 1}},
            "coordinator": {"resources": memory},
            "deviceClasses": [{"name": "tiny", "clients": 1, "resources": memory}],
            "suspend": kind == "suspended",
        },
    }


@contextmanager
def api() -> Iterator[httpx.Client]:
    """The API server, by kubectl's credentials."""
    proxy = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert proxy.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", proxy.stdout.readline())
        assert found is not None
        with httpx.Client(
            base_url=f"http://127.0.0.1:{found[1]}", timeout=30.0, trust_env=False
        ) as client:
            yield client
    finally:
        proxy.terminate()
        proxy.wait(10)


def requests_of_service_accounts(client: httpx.Client) -> float:
    """How many were dispatched so far."""
    lines = client.get("/metrics").raise_for_status().text.splitlines()
    name = "apiserver_flowcontrol_dispatched_requests_total{"
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith(name) and 'flow_schema="service-accounts"' in line
    )


class OperatorPod:
    """The operator's process, as its own /proc tells."""

    def __init__(self, release: str) -> None:
        self._namespace = release
        selector = "app.kubernetes.io/name=fednas,app.kubernetes.io/component=operator"
        self._pod = self._kubectl("get", "pods", "-l", selector, "-o", "name").strip()

    def usage(self) -> tuple[float, float]:
        """Seconds of CPU so far, and MB of memory now."""
        stat, status = (
            self._kubectl("exec", self._pod, "--", "cat", f"/proc/1/{name}")
            for name in ("stat", "status")
        )
        ticks = stat.rpartition(")")[2].split()[11:13]
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        return sum(map(int, ticks)) / _TICKS, int(resident[1]) / 1e3

    def _kubectl(self, *arguments: str) -> str:
        return subprocess.run(
            ["kubectl", "--namespace", self._namespace, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout


class ScaledDown:
    """When the first Deployment of each search was seen with no replicas."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self.seen: dict[str, float] = {}
        self._client = client
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        query = {"watch": "1", "labelSelector": "fednas.dev/search"}
        try:
            with self._client.stream("GET", self._path, params=query, timeout=None) as answer:
                for line in answer.iter_lines():
                    item = json.loads(line)["object"]
                    if item["spec"]["replicas"] == 0:
                        name = item["metadata"]["labels"]["fednas.dev/search"]
                        self.seen.setdefault(name, time.monotonic())
        except httpx.HTTPError:
            pass  # the proxy has ended, and the benchmark with it


def window(client: httpx.Client, pod: OperatorPod, seconds: float) -> dict[str, float]:
    """What the operator does in so many seconds."""
    requests, (cpu, _), begun = requests_of_service_accounts(client), pod.usage(), time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - begun
    now, memory = pod.usage()
    return {
        "seconds": lasted,
        "requestsPerSecond": (requests_of_service_accounts(client) - requests) / lasted,
        "cpuCores": (now - cpu) / lasted,
        "memoryMB": memory,
    }


def latencies(client: httpx.Client, path: str, namespace: str, names: list[str]) -> list[float]:
    """Milliseconds from the answer to an edit until the first Deployment is scaled down."""
    watched, edited = ScaledDown(client, namespace), {}
    time.sleep(1.0)
    watched.seen.clear()
    headers = {"Content-Type": "application/merge-patch+json"}
    for name in names:
        body = json.dumps({"spec": {"suspend": True}})
        client.patch(f"{path}/{name}", content=body, headers=headers).raise_for_status()
        edited[name] = time.monotonic()
        time.sleep(_PAUSE)
    deadline = time.monotonic() + 60.0
    while edited.keys() - watched.seen.keys() and time.monotonic() < deadline:
        time.sleep(0.5)
    missing = edited.keys() - watched.seen.keys()
    assert not missing, f"never scaled down: {sorted(missing)}"
    return sorted(1000 * max(0.0, watched.seen[name] - at) for name, at in edited.items())


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Create, watch, edit, delete."""
    kinds = ["suspended"] * (options.searches // 2) + ["running"] * options.running
    kinds += ["pending"] * (options.searches - len(kinds))
    names = {f"bench-{number:03}": kind for number, kind in enumerate(kinds)}
    pending = [name for name, kind in names.items() if kind == "pending"]
    path = SEARCHES.format(options.namespace)
    with api() as client:
        pod = OperatorPod(options.release)
        idle = window(client, pod, 10.0)
        try:
            before, begun = requests_of_service_accounts(client), time.monotonic()
            for name, kind in names.items():
                client.post(path, json=made_up(name, kind)).raise_for_status()
            created = time.monotonic() - begun
            while not all(_settled(item) for item in _all(client, path)):
                assert time.monotonic() - begun < 300, "some search is never told where it stands"
                time.sleep(1.0)
            settled = time.monotonic() - begun
            told = requests_of_service_accounts(client) - before
            time.sleep(30.0)  # until the coordinators of those that run are up
            steady = window(client, pod, options.seconds)
            running = sum(item["status"]["phase"] == "Searching" for item in _all(client, path))
            waits = latencies(client, path, options.namespace, pending)
        finally:
            client.delete(path, params={"propagationPolicy": "Background"})
    return {
        "searches": len(names),
        "suspended": kinds.count("suspended"),
        "unschedulable": len(pending),
        "running": running,
        "idle": idle,
        "secondsToCreate": created,
        "secondsUntilAllAreTold": settled,
        "requestsPerSearchUntilTold": told / len(names),
        "steady": steady,
        "eventToActionMilliseconds": {
            "edits": len(waits),
            "median": waits[len(waits) // 2],
            "p99": waits[min(len(waits) - 1, int(0.99 * len(waits)))],
        },
    }


def _all(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(path).raise_for_status().json()["items"]
    return items


def _settled(search: dict[str, Any]) -> bool:
    """Whether its status says what it is."""
    status = search.get("status") or {}
    conditions = {item["type"]: item["reason"] for item in status.get("conditions") or ()}
    if search["spec"].get("suspend"):
        return conditions.get("Suspended") == "Suspended"
    memory = search["spec"]["deviceClasses"][0]["resources"]["limits"]["memory"]
    wanted = "Unschedulable" if memory == "4Ti" else conditions.get("Degraded")
    return wanted is not None and conditions.get("Degraded") == wanted


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", default="fednas", help="of the searches")
    parser.add_argument("--release", default="fednas", help="namespace of the operator")
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--running", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = json.dumps(measure(options), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
