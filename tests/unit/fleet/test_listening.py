"""Where a coordinator answers."""

from __future__ import annotations

import socket

import httpx
import pytest
from fastapi import FastAPI

from fednas.errors import BadInput
from fednas.fleet._server import Server


def _answers(address: str, port: int) -> bool:
    try:
        return httpx.get(f"http://{address}:{port}/", trust_env=False).status_code == 404
    except httpx.ConnectError:
        return False


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("listen", "families"),
    [("*:0", (True, True)), ("127.0.0.1:0", (True, False)), ("[::1]:0", (False, True))],
)
def test_a_star_answers_over_both_families_and_an_address_over_its_own(
    listen: str, families: tuple[bool, bool]
) -> None:
    server = Server(FastAPI(), listen)
    server.start()
    try:
        answers = _answers("127.0.0.1", server.port), _answers("[::1]", server.port)
    finally:
        server.stop()
    assert answers == families


def test_on_a_machine_without_ipv6_a_star_answers_over_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server = Server(FastAPI(), "*:0")
    server.start()
    try:
        assert _answers("127.0.0.1", server.port)
    finally:
        server.stop()


def test_a_listen_address_without_port_is_refused() -> None:
    with pytest.raises(BadInput, match="must be HOST:PORT"):
        Server(FastAPI(), "*")
