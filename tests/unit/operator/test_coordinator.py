"""What the operator makes of a coordinator's answer; the server here is a real one, on a socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from typing import Any

import httpx
import pytest

from fednas_operator.coordinator import Coordinators
from fednas_operator.world import Problem
from tests.unit.operator.simulation import RUNNING, SETTINGS, UID

HEAD = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"


async def asked(
    chunks: list[bytes], pause: float = 0.0, seconds: float = 0.5, host: str = "127.0.0.1"
) -> Any:
    """What `Coordinators.ask` gives for an answer that comes in pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(timeout=3, trust_env=False) as http:
        coordinators = Coordinators(http, SETTINGS.master_key, port, seconds)
        return await coordinators.ask(host, UID)


def answer(value: Any, status: int = 200) -> list[bytes]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [HEAD % status + b"Content-Length: %d\r\n\r\n" % len(body) + body]


def reason(found: Any) -> str:
    assert isinstance(found, Problem)
    return found.reason


def test_a_sound_report_is_passed_on() -> None:
    found = asyncio.run(asked(answer(RUNNING)))
    assert found["status"] == RUNNING["status"]
    assert found["tracking"]["pending"] == 3
    assert not found["over"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_a_coordinator_of_an_ipv6_address_is_asked() -> None:
    found = asyncio.run(asked(answer(RUNNING), host="::1"))
    assert found["status"] == RUNNING["status"]


def test_an_answer_that_drips_is_given_up_in_time() -> None:
    dripping = [HEAD % 200 + b"Content-Length: 1000\r\n\r\n", *([b" "] * 1000)]
    began = time.monotonic()
    assert reason(asyncio.run(asked(dripping, pause=0.05))) == "CoordinatorUnreachable"
    assert time.monotonic() - began < 1.5


def test_of_a_huge_answer_no_more_is_read_than_a_report_may_have() -> None:
    sent = 0

    async def scenario() -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD % 200 + b"Content-Length: 1000000000\r\n\r\n")
            try:
                for _ in range(1000):
                    writer.write(b" " * 1_000_000)
                    await writer.drain()
                    sent += 1_000_000
            except ConnectionError:
                pass

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx.AsyncClient(timeout=3, trust_env=False) as http:
            return await Coordinators(http, SETTINGS.master_key, port, 3.0).ask("127.0.0.1", UID)

    assert reason(asyncio.run(scenario())) == "ReportUnreadable"
    assert sent < 50_000_000


def test_a_compressed_answer_is_not_inflated() -> None:
    body = gzip.compress(b" " * 100_000_000)
    head = HEAD % 200 + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    began = time.monotonic()
    assert reason(asyncio.run(asked([head + body]))) == "ReportUnreadable"
    assert time.monotonic() - began < 1.0
    body = gzip.compress(json.dumps(RUNNING).encode())
    head = HEAD % 200 + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert reason(asyncio.run(asked([head + body]))) == "ReportUnreadable"


@pytest.mark.parametrize(
    "report",
    [
        b"no JSON",
        b"[1]",
        {"version": 2},
        RUNNING | {"degraded": "StoreUnreachable"},
        RUNNING | {"degraded": {"reason": "not a word", "message": ""}},
        RUNNING | {"status": ["Searching"]},
        RUNNING | {"status": {"phase": "Searching", "rounds": "many"}},
        RUNNING | {"status": {"resultURI": "s" * 2000}},
        RUNNING | {"tracking": {"pending": "none"}},
        RUNNING | {"over": True, "reason": "x" * 200},
    ],
)
def test_a_report_that_no_status_can_hold_is_no_report(report: Any) -> None:
    assert reason(asyncio.run(asked(answer(report)))) == "ReportUnreadable"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "OperatorRefused"),
        (403, "OperatorRefused"),
        (404, "ReportUnreadable"),
        (503, "CoordinatorUnreachable"),
    ],
)
def test_a_refusal_is_told_apart_from_silence(status: int, expected: str) -> None:
    assert reason(asyncio.run(asked(answer({}, status)))) == expected


@pytest.mark.parametrize("address", ["", "not an address", "::1"])
def test_nobody_there_is_silence(address: str) -> None:
    async def scenario() -> Any:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            return await Coordinators(http, SETTINGS.master_key, 9).ask(address, UID)

    assert reason(asyncio.run(scenario())) == "CoordinatorUnreachable"
