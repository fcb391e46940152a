from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from fednas_operator import names
from fednas_operator.act import act
from fednas_operator.actions import Consent, Scale
from fednas_operator.coordinator import Coordinators
from fednas_operator.world import Problem
from tests.unit.operator.simulation import SETTINGS, UID, Simulation


class Coordinator(ThreadingHTTPServer):
    """Notes what it is told, and answers with one status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told: list[tuple[str, str, Any]] = []
        self.answer = 200


class Handler(BaseHTTPRequestHandler):
    server: Coordinator

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.path, self.headers["Authorization"], body))
        self._say({})

    def _say(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(self.server.answer)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Cluster:
    """Notes what is scaled."""

    def __init__(self) -> None:
        self.scaled: list[str] = []

    async def scale(self, namespace: str, deployment: str, replicas: int) -> dict[str, Any]:
        self.scaled.append(deployment)
        return {"kind": "Scale", "metadata": {"name": deployment}, "spec": {"replicas": replicas}}


@pytest.fixture
def coordinator() -> Iterator[Coordinator]:
    with Coordinator() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def carried_out(
    simulation: Simulation, port: int, address: str = "127.0.0.1"
) -> tuple[Problem | None, list[str]]:
    """What comes of a consent and an action after it."""
    cluster: Any = Cluster()

    async def scenario() -> Problem | None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            coordinators = Coordinators(http, SETTINGS.master_key, port)
            actions = [Consent(address), Scale("after", 1)]
            return (await act(cluster, coordinators, simulation.world, actions)).problem

    return asyncio.run(scenario()), cluster.scaled


def test_consent_is_told_with_the_operators_token(
    simulation: Simulation, coordinator: Coordinator
) -> None:
    assert carried_out(simulation, coordinator.server_port) == (None, ["after"])
    token = names.token(SETTINGS.master_key, UID, "operator")
    assert coordinator.told == [("/v1/accept-numerics", f"Bearer {token}", {})]


@pytest.mark.parametrize("answer", [401, 404, 500])
def test_a_coordinator_that_does_not_take_it_stops_nothing(
    simulation: Simulation,
    coordinator: Coordinator,
    answer: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    coordinator.answer = answer
    with caplog.at_level("INFO"):
        assert carried_out(simulation, coordinator.server_port) == (None, ["after"])
    assert len(coordinator.told) == 1
    assert "team/two-classes: the coordinator did not take the consent" in caplog.text


@pytest.mark.parametrize("address", ["127.0.0.1", "", "not an address", "::1"])
def test_a_coordinator_that_is_not_there_stops_nothing(
    simulation: Simulation, address: str
) -> None:
    with Coordinator() as gone:
        port = gone.server_port
    assert carried_out(simulation, port, address) == (None, ["after"])
