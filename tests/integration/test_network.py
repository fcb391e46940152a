"""The line over the network: real processes, a real MinIO, the ladder of a local run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from fednas import run
from fednas.cli import _coordinator
from fednas.result import Result
from fednas.store import Layout, MinioConfig
from tests.servers import Minio, end, free_port, minio_server, process

FEDNAS = [sys.executable, "-c", "from fednas.cli import main; main()"]
SEARCH_ID = "11111111-2222-3333-4444-555555555555"
SMALL = Path(__file__).parents[2] / "examples" / "small.yaml"


def outcome(result: Result) -> dict[str, Any]:
    """Everything that must not depend on where a search ran, nor on how often it was killed."""
    store, journal = result.store, result.layout.journal
    return {
        "ladder": result.view.ladder_rows,
        "decisions": result.view.decisions,
        "ledger": result.ledger.to_dict(),
        "journal": {
            entry.key.removeprefix(journal): store.get(entry.key) for entry in store.list(journal)
        },
    }


def small() -> dict[str, Any]:
    """The example, with its networks trained as one in the end."""
    search: dict[str, Any] = yaml.safe_load(SMALL.read_text())
    search["spec"]["finalTraining"]["nested"] = True
    return search


class Line:
    """A coordinator and its clients, each of which can be killed and started again."""

    def __init__(self, folder: Path, minio: Minio, bucket: MinioConfig) -> None:
        self.folder = folder
        self.minio = minio
        self.bucket = bucket
        self.url = f"http://127.0.0.1:{free_port()}"
        self.token = "none"
        self.file = folder / "search.yaml"
        where = {"endpoint": bucket.endpoint, "bucket": bucket.bucket, "secretName": "unused"}
        self.spec(storage=where)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spec(self, **changes: Any) -> None:
        search = small()
        search["spec"] |= changes
        self.file.write_text(yaml.safe_dump(search))

    def coordinator(
        self, *options: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [*FEDNAS, "coordinate", str(self.file), "--search-id", SEARCH_ID, *options]
        command += ["--listen", self.url.removeprefix("http://"), "--workers", "1"]
        return self._start(command, "coordinator", {**self.minio.env, **(env or {})})

    def client(
        self, device_class: str, name: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [*FEDNAS, "client", "--coordinator", self.url, "--device-class", device_class]
        command += ["--name", name, "--workers", "1", "--exit-when-over"]
        command += ["--cache", str(self.folder / f"cache-{name}")]
        return self._start(command, name, dict(env or {}))

    def clients(self) -> list[subprocess.Popen[bytes]]:
        names = {"phone-a": "phone", "phone-b": "phone", "hub-a": "hub", "hub-b": "hub"}
        return [self.client(device_class, name) for name, device_class in names.items()]

    def status(self) -> dict[str, Any] | None:
        request = urllib.request.Request(f"{self.url}/v1/status")
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return None

    def wait(self, until: Callable[[dict[str, Any]], bool], seconds: float = 300) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status()
            if status is not None and until(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"{self.status()}\n{self.said()}")

    def said(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)

    def consents(self) -> None:
        """What the operator sends when the resource says acceptNewNumerics."""
        httpx.post(f"{self.url}/v1/accept-numerics", json={}, timeout=5).raise_for_status()

    def outcome(self) -> dict[str, Any]:
        return outcome(Result(self.bucket.open(), Layout(SEARCH_ID)))

    def _start(self, command: list[str], name: str, env: dict[str, str]) -> Any:
        return self._stack.enter_context(process(command, self.folder / f"{name}.log", env))


@pytest.fixture
def line(tmp_path: Path, minio: Minio, bucket: MinioConfig) -> Iterator[Line]:
    with Line(tmp_path, minio, bucket) as made:
        yield made


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``fednas run`` of the same file comes to."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(yaml.safe_dump(small()))
    return outcome(run(folder / "small.yaml", dir=folder / "small", tracking=None))


@pytest.mark.slow
def test_the_ladder_over_the_network_is_that_of_a_local_run(
    line: Line, expected: dict[str, Any]
) -> None:
    line.coordinator()
    clients = line.clients()
    line.wait(lambda status: status["status"]["clients"] == {"available": 12, "total": 12})
    status = line.wait(lambda status: status["over"])
    assert not status["failed"], status
    assert line.outcome() == expected
    assert [child.wait(60) for child in clients] == [0, 0, 0, 0]


@pytest.mark.slow
def test_killed_once_each_they_come_to_the_same_ladder(
    line: Line, expected: dict[str, Any]
) -> None:
    coordinator = line.coordinator()
    phone, *_ = line.clients()
    line.wait(lambda status: status["status"].get("iteration", 0) >= 1)
    end(phone, signal.SIGKILL)
    line.client("phone", "phone-a")
    rounds = line.wait(lambda status: status["status"]["iteration"] >= 2)["status"]["rounds"]
    end(coordinator, signal.SIGKILL)
    line.coordinator()
    line.wait(lambda status: status["status"].get("rounds", 0) >= rounds)
    status = line.wait(lambda status: status["over"])
    assert not status["failed"], status
    assert line.outcome() == expected


@pytest.mark.slow
def test_a_store_that_goes_away_in_mid_search_changes_nothing(
    tmp_path: Path, expected: dict[str, Any]
) -> None:
    with minio_server(tmp_path / "minio") as minio:
        bucket = MinioConfig(minio.endpoint, "fednas", minio.user, minio.password)
        with Line(tmp_path, minio, bucket) as line:
            line.coordinator()
            line.clients()
            line.wait(lambda status: status["status"].get("iteration", 0) >= 1)
            minio.stop(signal.SIGKILL)
            status = line.wait(lambda status: status["degraded"] is not None)
            assert status["degraded"]["reason"] == "StoreUnreachable"
            minio.start()
            status = line.wait(lambda status: status["over"])
            assert not status["failed"], status
            assert line.outcome() == expected


@pytest.mark.slow
def test_a_store_away_is_told_though_only_workers_ask_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for it in silence, and the search waits for them."""
    monkeypatch.setattr(_coordinator, "STORE_SECONDS", 0.1)
    training = threading.Event()
    monkeypatch.setattr(_coordinator, "run_search", lambda *_, **__: training.wait())
    with minio_server(tmp_path / "minio") as minio:
        bucket = MinioConfig(minio.endpoint, "fednas", minio.user, minio.password)
        for name, value in minio.env.items():
            monkeypatch.setenv(name, value)
        line = Line(tmp_path, minio, bucket)
        coordinator = _coordinator.Coordinator(
            line.file, SEARCH_ID, listen="127.0.0.1:0", tokens=None, workers=1
        )
        line.url = coordinator.server.url
        threading.Thread(target=coordinator.work, daemon=True).start()
        try:
            line.wait(lambda status: "resultURI" in status["status"])
            minio.stop(signal.SIGKILL)
            status = line.wait(lambda status: status["degraded"] is not None, 60)
            assert status["degraded"]["reason"] == "StoreUnreachable"
            minio.start()
            line.wait(lambda status: status["degraded"] is None, 60)
        finally:
            coordinator.close()


OTHER_BITS = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
"""Kernels for other instructions: what a node with another processor would use."""


def is_strange(status: dict[str, Any]) -> bool:
    return (status["degraded"] or {}).get("reason") == "OtherNumerics"


@pytest.mark.slow
def test_a_coordinator_on_another_processor_waits_for_consent_and_then_goes_on(line: Line) -> None:
    coordinator = line.coordinator()
    clients = line.clients()
    line.wait(lambda status: status["status"].get("iteration", 0) >= 1)
    end(coordinator, signal.SIGKILL)
    again = line.coordinator(env=OTHER_BITS)
    status = line.wait(is_strange)
    assert not status["over"]
    assert "consent" in status["degraded"]["message"]
    with urllib.request.urlopen(f"{line.url}/readyz", timeout=5) as answer:
        assert answer.status == 200, "the operator asks only who is ready"
    line.consents()
    status = line.wait(lambda status: status["over"])
    assert not status["failed"], status
    assert [child.wait(60) for child in clients] == [0, 0, 0, 0]
    end(again)


@pytest.mark.slow
def test_a_client_on_another_processor_gets_no_work_until_somebody_consents(line: Line) -> None:
    line.coordinator()
    line.client("hub", "hub-a")
    line.client("phone", "phone-a", env=OTHER_BITS)
    status = line.wait(is_strange)
    assert "phone" in status["degraded"]["message"]
    assert status["status"]["clients"] == {"available": 4, "total": 12}
    line.consents()
    status = line.wait(lambda status: status["over"])
    assert not status["failed"], status
