from __future__ import annotations

import subprocess
import sys

import pytest

from fednas.fleet._client import Backoff
from fednas.fleet._numerics import Numerics
from fednas.fleet._protocol import PROTOCOL, Register
from fednas.fleet._remote import RemoteFleet
from fednas.fleet._sessions import Session


def test_waits_double_up_to_a_cap_with_jitter() -> None:
    backoff = Backoff(first=0.2, longest=3.0)
    waits = [backoff.wait() for _ in range(8)]
    for wait, longest in zip(waits, [0.2, 0.4, 0.8, 1.6, 3, 3, 3, 3], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits[4:])) > 1
    backoff.reset()
    assert backoff.wait() <= 0.2


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fednas.fleet._client", {"torch", "mlflow", "minio", "fastapi"}),
        ("fednas.fleet._server", {"torch", "mlflow"}),
        ("fednas.cli._coordinator", {"torch", "mlflow", "matplotlib"}),
        ("fednas.fleet", {"torch", "mlflow", "minio", "fastapi", "httpx"}),
    ],
)
def test_programs_load_no_more_than_they_need(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {absent!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def _session(digest: str, device_class: str = "phone") -> Session:
    return Session("s", f"{device_class}/a", device_class, {"digest": digest}, 0.0)


def test_a_program_of_other_bits_gets_no_work_until_somebody_consents() -> None:
    numerics = Numerics()
    ours, other = _session("a" * 64), _session("b" * 64)
    assert numerics.accepts(other), "the search has none yet"
    numerics.accept("a" * 64)
    assert numerics.accepts(ours)
    assert not numerics.accepts(other)
    numerics.accept_any()
    assert numerics.accepts(other)


def test_programs_of_other_bits_are_strangers_and_serve_no_client() -> None:
    fleet = RemoteFleet({"phone-0": "phone", "phone-1": "phone", "hub-0": "hub"})
    fleet.numerics.accept("a" * 64)
    for name, device_class, digest in (("x", "phone", "b"), ("y", "hub", "a")):
        fleet.register(
            Register(
                protocol=PROTOCOL,
                device_class=device_class,
                name=name,
                numerics={"digest": digest * 64},
            )
        )
    assert fleet.alive() == {"hub": 1, "phone": 0}
    assert fleet.available() == 1
    assert [session.device_class for session in fleet.strangers()] == ["phone"]
    fleet.numerics.accept_any()
    assert (fleet.alive(), fleet.available()) == ({"hub": 1, "phone": 1}, 3)
    assert fleet.strangers() == []
