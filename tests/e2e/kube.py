"""kubectl as functions, and waiting with a deadline and a reason."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
SEARCH = "federatedsearches.fednas.dev"
"""In full: kubectl remembers short names of other groups for a while, such as `test_crd` has."""
CHILDREN = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,pods"


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """The output of kubectl; AssertionError with what it said if it fails."""
    done = subprocess.run(
        ["kubectl", "--request-timeout=30s", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


SLACK = 3.0
"""Waits are for a machine of its own; a shared one gets so much longer."""


def wait(what: str, seconds: float, condition: Callable[[], T | None], *, pause: float = 0.5) -> T:
    """The first truthy answer; AssertionError after that many seconds."""
    deadline = time.monotonic() + SLACK * seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"gave up after {SLACK * seconds} s waiting for {what}"
        time.sleep(pause)
    return answer


class Namespace:
    """What the tests do in one namespace."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return kubectl("--namespace", self.name, *arguments, stdin=stdin, check=check)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def list(self, kinds: str, selector: str) -> list[dict[str, Any]]:
        found = json.loads(self("get", kinds, "-l", selector, "-o", "json"))
        items: list[dict[str, Any]] = found["items"]
        return items

    def apply(self, resource: dict[str, Any]) -> str:
        """Create a search; its uid."""
        self("create", "-f", "-", stdin=json.dumps(resource))
        found = self.get(SEARCH, resource["metadata"]["name"])
        assert found is not None
        return str(found["metadata"]["uid"])

    def status(self, search: str) -> dict[str, Any]:
        found = self.get(SEARCH, search)
        assert found is not None, f"search {search} is gone"
        status: dict[str, Any] = found.get("status", {})
        return status

    def condition(self, search: str, kind: str) -> dict[str, Any] | None:
        conditions = self.status(search).get("conditions", [])
        return next((item for item in conditions if item["type"] == kind), None)

    def await_reason(self, search: str, kind: str, reason: str, seconds: float) -> dict[str, Any]:
        """Wait for a condition with that reason."""

        def found() -> dict[str, Any] | None:
            condition = self.condition(search, kind)
            return condition if condition and condition["reason"] == reason else None

        return wait(f"{search}: {kind} {reason}", seconds, found)

    def await_end(self, search: str, seconds: float) -> dict[str, Any]:
        """Wait for Complete; the status. A search that failed is shown as it is."""

        def over() -> dict[str, Any] | None:
            status = self.status(search)
            return status if status.get("phase") in {"Complete", "Failed"} else None

        status = wait(f"the end of {search}", seconds, over, pause=1.0)
        assert status["phase"] == "Complete", json.dumps(status, indent=1)
        return status

    def pods(self, uid: str, role: str, device_class: str | None = None) -> list[dict[str, Any]]:
        """Running pods of a search."""
        selector = f"fednas.dev/uid={uid},fednas.dev/role={role}"
        if device_class:
            selector += f",fednas.dev/device-class={device_class}"
        return [
            pod
            for pod in self.list("pods", selector)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def children(self, uid: str) -> list[str]:
        """Kind and name of everything that a search has."""
        found = self.list(CHILDREN, f"fednas.dev/uid={uid}")
        return sorted(f"{item['kind']}/{item['metadata']['name']}" for item in found)

    def scale(self, deployment: str, replicas: int) -> None:
        self("scale", "deployment", deployment, f"--replicas={replicas}")
        if replicas:
            self("rollout", "status", f"deployment/{deployment}", "--timeout=170s")
        else:
            selector = f"app.kubernetes.io/component={deployment.rpartition('-')[2]}"
            wait(f"{deployment} to go", 60, lambda: not self.list("pods", selector))

    @contextmanager
    def forward(self, service: str, port: int) -> Iterator[str]:
        """A port of this machine that leads to a Service: its URL."""
        process = subprocess.Popen(
            ["kubectl", "--namespace", self.name, "port-forward", f"service/{service}", f":{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"port-forward to {service}: {line}"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.wait(timeout=10)
            assert process.stdout is not None
            process.stdout.close()


def sample(file: str, name: str, **spec: Any) -> dict[str, Any]:
    """A committed search under another name, with fields of its spec replaced."""
    resource: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    resource["metadata"]["name"] = name
    resource["spec"] |= spec
    return resource
