"""What the operator tells the programs of a pod to keep to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Command


@pytest.fixture(autouse=True)
def _large_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without limits on 64 cores, which handles no signal and logs nowhere."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr("fednas.fleet._cpus.cpu_quota", lambda _: math.inf)
    monkeypatch.setattr("fednas.fleet._cpus.memory_limit", lambda _: math.inf)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("fednas.fleet._logs.configure_logs", lambda **_: None)


@pytest.mark.parametrize(
    ("options", "workers", "mib"),
    [((), 64, 1024), (("--max-workers", 1, "--cache-mib", 16), 1, 16)],
)
def test_a_client_keeps_to_its_workers_and_to_its_cache(
    fednas: Command,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[Any, ...],
    workers: int,
    mib: int,
) -> None:
    made: list[tuple[int, int]] = []

    class Program:
        def __init__(self, connection: Any, cache: Any, *, workers: int, **_: Any) -> None:
            made.append((workers, cache.limit))

        def run(self) -> None:
            pass

    monkeypatch.setattr("fednas.fleet._client.Client", Program)
    asked = ("client", "--coordinator", "http://host:8080", "--device-class", "phone")
    assert fednas(*asked, *options).code == 0
    assert made == [(workers, mib << 20)]


@pytest.mark.parametrize(("options", "workers"), [((), 64), (("--max-workers", 1), 1)])
def test_a_coordinator_keeps_to_its_workers(
    fednas: Command,
    monkeypatch: pytest.MonkeyPatch,
    spec_file: Path,
    options: tuple[Any, ...],
    workers: int,
) -> None:
    made: list[int] = []

    class Program:
        def __init__(self, *_: Any, workers: int, **__: Any) -> None:
            made.append(workers)

        def work(self) -> None:
            raise SystemExit(0)

        def close(self) -> None:
            pass

    monkeypatch.setattr("fednas.cli._coordinator.Coordinator", Program)
    assert fednas("coordinate", spec_file, "--search-id", "x", *options).code == 0
    assert made == [workers]
