from __future__ import annotations

import asyncio
import copy
import re
import socket

import httpx
import pytest

from fednas_operator import names
from fednas_operator.metrics import Metrics, serve
from tests.servers import free_port
from tests.unit.operator.cluster import KEY, Fault, World, faults
from tests.unit.operator.simulation import RUNNING


def value(world: World, name: str, **labels: str) -> float:
    """Of one series; 0 if there is none."""
    found = world.metrics.registry.get_sample_value(f"fednas_operator_{name}", labels)
    return found or 0.0


async def running() -> World:
    world = World(report=RUNNING)
    await world.live(10)
    return world


def test_passes_are_counted_by_how_they_ended() -> None:
    async def scenario() -> None:
        world = await running()
        done = value(world, "reconciles_total", result="done")
        assert done >= 5
        assert value(world, "reconcile_seconds_count") == done
        world.api.fault = faults(("PUT", Fault(500, "InternalError", "etcd")))
        world.edit(suspend=True)
        await world.live(2)
        assert value(world, "reconciles_total", result="failed") >= 1
        world.api.fault = faults(("PATCH", Fault(403, "Forbidden", "no")))
        await world.live(10)
        assert value(world, "reconciles_total", result="refused") >= 1

    asyncio.run(scenario())


def test_requests_are_counted_by_kind_and_by_what_the_api_server_answered() -> None:
    async def scenario() -> None:
        world = World(report=RUNNING)
        world.api.fault = faults(("POST Service ", Fault(403, "Forbidden", "no")))
        await world.live(5)
        labels = {"verb": "POST", "kind": "Service"}
        assert value(world, "api_requests_total", code="403", **labels) >= 1
        world.api.fault = faults(("POST Service ", Fault(0)))
        await world.live(30)
        assert value(world, "api_requests_total", code="0", **labels) >= 1
        world.api.fault = faults()
        await world.live(40)
        assert value(world, "api_requests_total", code="201", **labels) == 1
        scaled = {"verb": "PATCH", "kind": "Deployment", "code": "200"}
        world.edit(suspend=True)
        await world.live(5)
        assert value(world, "api_requests_total", **scaled) == 3

    asyncio.run(scenario())


def test_searches_are_counted_by_phase_and_forgotten_when_they_go() -> None:
    async def scenario() -> None:
        world = await running()
        world.operators[0].measure()
        assert value(world, "searches", phase="Searching") == 1
        world.edit(suspend=True)
        await world.live(10)
        world.operators[0].measure()
        assert value(world, "searches", phase="Suspended") == 1
        assert value(world, "searches", phase="Searching") == 0
        world.api.delete(names.KIND, *KEY)
        await world.live(10)
        world.operators[0].measure()
        assert value(world, "searches", phase="Suspended") == 0

    asyncio.run(scenario())


def test_how_long_a_key_has_waited_is_measured() -> None:
    async def scenario() -> None:
        world = await running()
        before, taken = (value(world, f"queue_seconds_{part}") for part in ("sum", "count"))
        assert taken == value(world, "reconciles_total", result="done")
        world.edit(suspend=True)
        world.now += 7
        await world.live(0.1)
        assert value(world, "queue_seconds_sum") - before >= 7

    asyncio.run(scenario())


def test_what_is_behind_is_shown() -> None:
    async def scenario() -> None:
        world = await running()
        world.edit(suspend=True)
        world.now += 7
        world.operators[0].measure()
        assert value(world, "queue_length") == 1
        assert value(world, "queue_lag_seconds") == pytest.approx(7, abs=0.5)

    asyncio.run(scenario())


def test_they_are_served_as_prometheus_reads_them() -> None:
    async def scenario() -> httpx.Response:
        metrics = Metrics()
        metrics.requests.labels("GET", "Pod", "200").inc()
        measured = []
        async with (
            serve(metrics, 0, lambda: measured.append(1), "127.0.0.1") as port,
            httpx.AsyncClient() as http,
        ):
            assert (await http.get(f"http://127.0.0.1:{port}/other")).status_code == 404
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
        assert measured == [1]
        return answer

    answer = asyncio.run(scenario())
    assert answer.headers["content-type"].startswith("text/plain")
    assert re.search(
        r'^fednas_operator_api_requests_total\{code="200",kind="Pod",verb="GET"\} 1\.0$',
        answer.text,
        re.MULTILINE,
    )
    names_ = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# HELP")}
    assert {"fednas_operator_reconcile_seconds", "process_resident_memory_bytes"} <= names_


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_they_are_served_over_both_families_of_addresses() -> None:
    async def scenario() -> list[int]:
        async with (
            serve(Metrics(), free_port(), lambda: None) as port,
            httpx.AsyncClient(trust_env=False) as http,
        ):
            urls = [f"http://{host}:{port}/metrics" for host in ("127.0.0.1", "[::1]")]
            return [(await http.get(url)).status_code for url in urls]

    assert asyncio.run(scenario()) == [200, 200]


def test_no_series_names_a_search() -> None:
    """Else their number would grow with the searches."""

    async def scenario() -> None:
        world = await running()
        text = copy.copy(world.metrics.text().decode())
        assert KEY.name not in text
        assert KEY.namespace not in text

    asyncio.run(scenario())
