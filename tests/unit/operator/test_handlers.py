from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import httpx
import kopf
import pytest

from fednas_operator.cluster import ApiError
from fednas_operator.handlers import Operator, _configure, register
from fednas_operator.queue import Key, WorkQueue
from fednas_operator.settings import Settings
from tests.servers import free_port


def test_a_queue_that_is_stuck_fails_the_probe(settings: Settings) -> None:
    async def scenario() -> None:
        now = [0.0]
        operator = Operator(settings)
        operator.queue = WorkQueue(lambda: now[0])
        operator.queue.add(Key("ns", "a"))
        now[0] = 100.0
        assert operator.health() == {"keys": 1, "lagSeconds": 100.0}
        now[0] = 200.0
        with pytest.raises(RuntimeError, match="200 s behind"):
            operator.health()

    asyncio.run(scenario())


def test_an_api_server_that_is_away_does_not_end_the_operator(settings: Settings) -> None:
    """Passes fail one after the other, and keys wait for long; a restart would mend nothing."""

    async def scenario() -> None:
        now = [0.0]
        operator = Operator(settings)
        operator.queue = WorkQueue(lambda: now[0])
        for i in range(200):
            operator.queue.add(Key("ns", str(i)))
        for _ in range(100):
            key = operator.queue.take()
            assert key is not None
            now[0] += 10.0
            operator.queue.failed(key)
        assert operator.health()["lagSeconds"] > 500

    asyncio.run(scenario())


def test_a_watch_is_tried_again_without_end() -> None:
    """kopf ends the operator when one watch gives up: of a namespace that was deleted, say."""
    settings = kopf.OperatorSettings()
    _configure(settings)
    for _ in range(2):  # each request begins anew
        pauses = list(islice(settings.networking.error_backoffs, 2000))
        assert len(pauses) == 2000
        assert pauses[0] <= 0.5
        assert max(pauses[:60]) <= 5
        assert max(pauses) <= 30


class Cluster:
    """Where there is one search, of which no event tells, and a namespace that was deleted."""

    def __init__(self) -> None:
        self.looked_at: asyncio.Queue[Key] = asyncio.Queue()

    async def find(self, kind: str, namespace: str | None) -> list[dict[str, Any]]:
        if namespace == "gone":
            raise ApiError(403, "Forbidden", "no such rights")
        return [{"metadata": {"namespace": str(namespace), "name": "a"}}]

    async def get(self, kind: str, namespace: str, name: str) -> None:
        self.looked_at.put_nowait(Key(namespace, name))

    async def close(self) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What the operator connects to."""
    made = Cluster()

    async def connect(answered: Any) -> Cluster:
        return made

    monkeypatch.setattr("fednas_operator.handlers.connect", connect)
    return made


def test_searches_of_which_no_event_told_are_found(settings: Settings, cluster: Cluster) -> None:
    async def scenario() -> Key:
        quick = settings.model_copy(update={"resync_seconds": 0.01})
        operator = Operator(quick, ["gone", "team"])
        await operator.start()
        try:
            return await asyncio.wait_for(cluster.looked_at.get(), 5)
        finally:
            await operator.stop()

    assert asyncio.run(scenario()) == Key("team", "a")


def test_the_operator_serves_its_metrics_while_it_runs(
    settings: Settings, cluster: Cluster
) -> None:
    port = free_port()

    async def scenario() -> str:
        operator = Operator(settings, metrics_port=port)
        await operator.start()
        operator.queue.add(Key("team", "a"))
        await asyncio.wait_for(cluster.looked_at.get(), 5)
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"http://127.0.0.1:{port}/metrics")).text
        finally:
            await operator.stop()

    assert 'fednas_operator_reconciles_total{result="done"} 1.0' in asyncio.run(scenario())


def test_kopf_only_informs(settings: Settings) -> None:
    registry = kopf.OperatorRegistry()
    register(Operator(settings), registry)
    watched = {handler.id.rpartition(".")[2] for handler in registry._watching.get_all_handlers()}
    assert watched == {"search_changed", "deployment_changed", "pod_changed"}
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()


def test_the_master_key_is_in_no_printed_setting(settings: Settings) -> None:
    assert settings.master_key not in repr(settings)
