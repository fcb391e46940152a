"""What hundreds of searches cost the API server and the operator, in a real cluster.

    python bench/searches.py [--namespace fednas] [--release fednas] [--searches 200] [--running 8]
        [--seconds 60] [--out FILE]

Of the searches half are suspended from the start, some run (one tiny class each), and all others
ask for more memory than any node has, so that their pods stay pending. Measured are the operator's
requests but for watches, its CPU time and its memory, all by its own metrics, which are read once a
second through the API server, and how long it takes from the API server's answer to an edit of
`spec.suspend` until the first Deployment is seen scaled down. Needs kubectl, the chart installed
with a default store, and its operator watching the namespace, which should have no searches; those
that it makes it deletes again.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

SEARCHES = "/apis/fednas.dev/v1alpha1/namespaces/{}/federatedsearches"
_PAUSE = 0.25


def made_up(name: str, kind: str) -> dict[str, Any]:
    """A search that is ``suspended``, ``pending`` or ``running``."""
    memory = "4Ti" if kind == "pending" else "768Mi"
    resources = {"limits": {"memory": memory}, "requests": {"cpu": "50m", "memory": memory}}
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
            "strategy": {
                "netAdapt": {
                    "firstStep": 0.01,
                    "stepDecay": 1.0,
                    "clientGroups": 1,
                    "rounds": {"constant": {"pre": 8, "post": 8}},  # so that none ends meanwhile
                }
            },
            "coordinator": {"resources": resources},
            "deviceClasses": [{"name": "tiny", "clients": 1, "resources": resources}],
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


@dataclass(frozen=True)
class Usage:
    """What the operator has used so far.

    Parameters
    ----------
    at : float
        Monotonic seconds.
    cpu : float
        Seconds.
    memory : float
        MB that are resident.
    requests : Counter
        To the API server, by verb and kind.
    """

    at: float
    cpu: float
    memory: float
    requests: Counter[str]


class Operator:
    """The operator's own metrics, read once a second until the benchmark ends."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self._client = client
        pods = f"/api/v1/namespaces/{namespace}/pods"
        selector = "app.kubernetes.io/name=fednas,app.kubernetes.io/component=operator"
        answer = client.get(pods, params={"labelSelector": selector}).raise_for_status()
        (pod,) = answer.json()["items"]
        self._path = f"{pods}/{pod['metadata']['name']}:8082/proxy/metrics"
        self._seen = [self.usage()]
        threading.Thread(target=self._watch, daemon=True).start()

    def usage(self) -> Usage:
        """What it has used up to now."""
        text = self._client.get(self._path).raise_for_status().text
        requests: Counter[str] = Counter()
        for labels, count in re.findall(r"api_requests_total\{(.*)\} (.*)", text):
            named = dict(re.findall(r'(\w+)="(.*?)"', labels))
            requests[f"{named['verb']} {named['kind']}"] += int(float(count))
        cpu, memory = (
            float(re.findall(rf"^{name} (.*)$", text, re.MULTILINE)[0])
            for name in ("process_cpu_seconds_total", "process_resident_memory_bytes")
        )
        return Usage(time.monotonic(), cpu, memory / 1e6, requests)

    def since(self, before: Usage) -> dict[str, Any]:
        """What it used meanwhile."""
        now = self.usage()
        lasted, asked = now.at - before.at, now.requests - before.requests
        seen = [*(one for one in self._seen if one.at >= before.at), now]
        rates = [
            (after.cpu - first.cpu) / (after.at - first.at)
            for first, after in pairwise([before, *seen])
            if after.at - first.at > _PAUSE
        ]
        return {
            "seconds": lasted,
            "requestsPerSecond": asked.total() / lasted,
            "requests": dict(asked.most_common()),
            "cpuCores": (now.cpu - before.cpu) / lasted,
            "cpuCoresAtMost": max(rates),
            "memoryMB": now.memory,
            "memoryMBAtMost": max(one.memory for one in seen),
        }

    def _watch(self) -> None:
        while True:
            time.sleep(1.0)
            try:
                self._seen.append(self.usage())
            except (httpx.HTTPError, RuntimeError):
                return  # the proxy has ended, and the benchmark with it


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
        operator = Operator(client, options.release)
        idle = _window(operator, 10.0)
        try:
            before, begun = operator.usage(), time.monotonic()
            for name, kind in names.items():
                client.post(path, json=made_up(name, kind)).raise_for_status()
            created = time.monotonic() - begun
            while not all(_settled(item) for item in _all(client, path)):
                assert time.monotonic() - begun < 300, "some search is never told where it stands"
                time.sleep(1.0)
            made = operator.since(before)
            while _searching(client, path) < options.running:
                assert time.monotonic() - begun < 600, "some search never starts"
                time.sleep(1.0)
            steady = _window(operator, options.seconds)
            running = _searching(client, path)
            before = operator.usage()
            waits = latencies(client, path, options.namespace, pending)
            edited = operator.since(before)
        finally:
            before = operator.usage()
            client.delete(path, params={"propagationPolicy": "Background"})
            while _children(client, options.namespace):
                assert time.monotonic() - before.at < 300, "some child is never deleted"
                time.sleep(1.0)
        deleted = operator.since(before)
    return {
        "searches": len(names),
        "suspended": kinds.count("suspended"),
        "unschedulable": len(pending),
        "running": running,
        "secondsToCreate": created,
        "idle": idle,
        "untilAllAreTold": made,
        "steady": steady,
        "whileTheUnschedulableAreSuspended": edited,
        "untilAllAreDeleted": deleted,
        "eventToActionMilliseconds": {
            "edits": len(waits),
            "median": waits[len(waits) // 2],
            "p99": waits[min(len(waits) - 1, int(0.99 * len(waits)))],
            "longest": waits[-1],
        },
    }


def _window(operator: Operator, seconds: float) -> dict[str, Any]:
    before = operator.usage()
    time.sleep(seconds)
    return operator.since(before)


def _children(client: httpx.Client, namespace: str) -> bool:
    query = {"labelSelector": "fednas.dev/search", "limit": "1"}
    paths = (
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        f"/api/v1/namespaces/{namespace}/pods",
    )
    return any(client.get(path, params=query).raise_for_status().json()["items"] for path in paths)


def _all(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(path).raise_for_status().json()["items"]
    return items


def _searching(client: httpx.Client, path: str) -> int:
    return sum(item["status"].get("phase") == "Searching" for item in _all(client, path))


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
