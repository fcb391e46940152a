from __future__ import annotations

import asyncio

import kopf
import pytest

from fednas_operator.handlers import Operator, register
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


def test_kopf_only_informs(settings: Settings) -> None:
    registry = kopf.OperatorRegistry()
    register(Operator(settings), registry)
    watched = {handler.id.rpartition(".")[2] for handler in registry._watching.get_all_handlers()}
    assert watched == {"search_changed", "deployment_changed", "pod_changed"}
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()


def test_the_master_key_is_in_no_printed_setting(settings: Settings) -> None:
    assert settings.master_key not in repr(settings)
