"""Searches in a real cluster, parts of which are killed at random: what do they come to?

    python bench/faults.py manifests/samples/quickstart.yaml --out FILE [--searches 5] [--kills 4]
        [--set KEY=VALUE] [--seed 0] [--part 'kubelet=kill it; sleep 9; start it']

One search after the other is created, and at random times during it a part dies: the pod of the
operator, the coordinator, a client, MinIO or MLflow, deleted without grace, or what a `--part`
names, by its command. Each part has its turn before any has a second one. In the end the ladder has
to be that of `fednas run` of the same file, nothing of the search may be left, and MLflow must hold
each point once. Needs kubectl, and the chart installed with its own MinIO and MLflow.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from fednas.result import open_target
from fednas.spec import load_spec

PODS = {
    "operator": "app.kubernetes.io/component=operator",
    "minio": "app.kubernetes.io/component=minio",
    "mlflow": "app.kubernetes.io/component=mlflow",
    "coordinator": "fednas.dev/uid={uid},fednas.dev/role=coordinator",
    "client": "fednas.dev/uid={uid},fednas.dev/role=client",
}
KINDS = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,pods"


class Cluster:
    """kubectl in a namespace; asked again while the API server is away."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        command = ["kubectl", "--namespace", self.namespace, "--request-timeout=20s", *arguments]
        for _ in range(60):
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
            if done.returncode == 0 or "AlreadyExists" in done.stderr:
                return done.stdout
            time.sleep(2)
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")

    def listed(self, kinds: str, selector: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self("get", kinds, "-l", selector, "-o", "json"))[
            "items"
        ]
        return items

    def search(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", "fsearch", name, "-o", "json"))
        return found

    @contextmanager
    def forward(self, service: str, port: int) -> Iterator[str]:
        command = [
            "kubectl",
            "-n",
            self.namespace,
            "port-forward",
            f"service/{service}",
            f":{port}",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found is not None
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.wait(10)


def kill(cluster: Cluster, part: str, commands: dict[str, str], uid: str) -> bool:
    """Whether there was anything to kill."""
    if part in commands:
        subprocess.run(commands[part], shell=True, check=True, stdout=subprocess.DEVNULL)
        return True
    pods = [one["metadata"]["name"] for one in cluster.listed("pods", PODS[part].format(uid=uid))]
    if pods:
        cluster(
            *("delete", "pod", random.choice(pods), "--ignore-not-found"),
            *("--wait=false", "--grace-period=0", "--force"),
        )
    return bool(pods)


def twice_in_mlflow(url: str, run: str) -> list[str]:
    """Metrics of which a step was logged more than once."""
    api = f"{url}/api/2.0/mlflow"
    found = httpx.get(f"{api}/runs/get", params={"run_id": run}, timeout=60).json()
    twice = []
    for metric in found["run"]["data"]["metrics"]:
        query = {"run_id": run, "metric_key": metric["key"]}
        history = httpx.get(f"{api}/metrics/get-history", params=query, timeout=60).json()
        steps = [point["step"] for point in history["metrics"]]
        if len(steps) != len(set(steps)):
            twice.append(metric["key"])
    return twice


def one_search(
    cluster: Cluster,
    resource: dict[str, Any],
    parts: list[str],
    commands: dict[str, str],
    apart: float,
) -> dict[str, Any]:
    """Kill these parts while it runs; what came of it."""
    name = resource["metadata"]["name"]
    cluster("create", "-f", "-", stdin=json.dumps(resource))
    uid, began = cluster.search(name)["metadata"]["uid"], time.monotonic()
    killed: list[dict[str, Any]] = []
    for part in parts:
        time.sleep(random.uniform(1, apart))
        status = cluster.search(name).get("status", {})
        if status.get("phase") in {"Complete", "Failed"}:
            break
        at = {key: status.get(key) for key in ("phase", "iteration", "rounds")}
        if kill(cluster, part, commands, uid):
            killed.append({"part": part, "seconds": time.monotonic() - began, **at})
    while True:
        found = cluster.search(name)
        status = found.get("status", {})
        tracked = [one for one in status.get("conditions", []) if one["type"] == "Tracked"]
        over = status.get("phase") in {"Complete", "Failed"}
        if over and (not tracked or tracked[0]["reason"] == "Delivered"):
            break
        if time.monotonic() - began > 900:
            raise SystemExit(f"{name} has not ended in 15 minutes: {json.dumps(status, indent=1)}")
        time.sleep(2)
    seconds = time.monotonic() - began
    for _ in range(60):
        left = cluster.listed(KINDS, f"fednas.dev/uid={uid}")
        if not left:
            break
        time.sleep(2)
    with cluster.forward("fednas-mlflow", 5000) as url:
        repeated = twice_in_mlflow(url, status["trackingRunID"])
    cluster("delete", "fsearch", name)
    return {
        "killed": killed,
        "seconds": seconds,
        "phase": status["phase"],
        "ladder": [rung["sha256"] for rung in status.get("ladder", [])],
        "left": [f"{one['kind']}/{one['metadata']['name']}" for one in left],
        "twiceInMlflow": repeated,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--namespace", default="fednas")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--kills", type=int, default=4, help="of each search, at most")
    parser.add_argument("--apart", type=float, default=20.0, help="seconds between them, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--part", action="append", default=[], metavar="NAME=COMMAND")
    how = parser.parse_args()
    random.seed(how.seed)
    commands = dict(one.split("=", 1) for one in how.part)
    resource = load_spec(how.file, tuple(how.set)).to_dict()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "search.yaml"
        file.write_text(yaml.safe_dump(resource), encoding="utf-8")
        command = [sys.executable, "-m", "fednas", "run", str(file), "--tracking", "none"]
        subprocess.run([*command, "--dir", f"{folder}/run"], check=True, stdout=subprocess.DEVNULL)
        wanted = [rung["sha256"] for rung in open_target(f"{folder}/run").view.ladder_rows]
    cluster, turns, found = Cluster(how.namespace), list[str](), []
    for number in range(how.searches):
        while len(turns) < how.kills:
            turns += random.sample([*PODS, *commands], len(PODS) + len(commands))
        parts, turns = turns[: how.kills], turns[how.kills :]
        resource["metadata"]["name"] = f"faults-{number}"
        one = one_search(cluster, resource, parts, commands, how.apart)
        same = one.pop("ladder") == wanted
        found.append(one | {"sameLadder": same})
        print(json.dumps(found[-1]), flush=True)
        how.out.write_text(json.dumps({"rungs": len(wanted), "searches": found}, indent=1))
    killed = Counter(each["part"] for one in found for each in one["killed"])
    amiss = sum(
        one["phase"] != "Complete"
        or not one["sameLadder"]
        or bool(one["left"] or one["twiceInMlflow"])
        for one in found
    )
    print(f"{killed.total()} kills ({dict(killed)}), {amiss} of {len(found)} searches amiss")
    sys.exit(amiss > 0)


if __name__ == "__main__":
    main()
