from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import kopf
import pytest

from fednas_operator.cluster import ApiError
from fednas_operator.handlers import Operator, _configure, register
from fednas_operator.queue import Key, WorkQueue
from fednas_operator.settings import Settings


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


def test_searches_of_which_no_event_told_are_found(settings: Settings) -> None:
    """In one namespace the server refuses, as where a namespace of the list was deleted."""

    class Cluster:
        async def find(self, kind: str, namespace: str | None) -> list[dict[str, Any]]:
            if namespace == "gone":
                raise ApiError(403, "Forbidden", "no such rights")
            return [{"metadata": {"namespace": str(namespace), "name": "a"}}]

    async def scenario() -> Key | None:
        quick = settings.model_copy(update={"resync_seconds": 0.01})
        operator = Operator(quick, ["gone", "team"])
        cluster: Any = Cluster()
        task = asyncio.create_task(operator._resync(cluster))
        key = await asyncio.wait_for(operator.queue.get(), 1)
        task.cancel()
        return key

    assert asyncio.run(scenario()) == Key("team", "a")


def test_kopf_only_informs(settings: Settings) -> None:
    registry = kopf.OperatorRegistry()
    register(Operator(settings), registry)
    watched = {handler.id.rpartition(".")[2] for handler in registry._watching.get_all_handlers()}
    assert watched == {"search_changed", "deployment_changed", "pod_changed"}
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()


def test_the_master_key_is_in_no_printed_setting(settings: Settings) -> None:
    assert settings.master_key not in repr(settings)
