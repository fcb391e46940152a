from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fednas.data import encode_rows, load_dataset
from fednas.fleet._backoff import Backoff
from fednas.fleet._cache import FileCache
from fednas.fleet._client import Client
from fednas.fleet._numerics import Numerics
from fednas.fleet._protocol import PROTOCOL, Answer, Grant, Register
from fednas.fleet._remote import RemoteFleet
from fednas.fleet._sessions import Session
from fednas.models import encode, initialise, start_architecture
from fednas.spec import Sgd
from fednas.store import digest_of
from fednas.work import TRAIN, Task, Train


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


class OneTask:
    """A coordinator that has one task, and then the search is over."""

    heartbeat_seconds = 5.0

    def __init__(self, task: Task) -> None:
        self._grants = [Grant(lease="0" * 32, task=task, urls={}, uploads={})]
        self.introduced: list[Register] = []
        self.given_back: list[tuple[str, str]] = []
        self.completed = 0

    def introduce(
        self, register: Callable[[], Register], registered: Callable[[Register], None]
    ) -> None:
        self.introduced.append(register())

    def ask(self) -> Answer:
        return Answer(grant=self._grants.pop()) if self._grants else Answer(over=True)

    def heartbeat(self, lease: str) -> bool:
        return True

    def complete(self, lease: str, make: Any) -> None:
        self.completed += 1

    def give_back(
        self, lease: str, reason: str, message: str, deadline: float | None = None
    ) -> None:
        self.given_back.append((reason, message))

    def goodbye(self, deadline: float) -> None:
        pass


@pytest.mark.parametrize(
    ("scale", "reason"), [(1.0, None), (1e30, "TrainingDiverged")], ids=["trains", "diverges"]
)
def test_a_client_tells_its_numerics_and_whether_training_diverged(
    tmp_path: Path, scale: float, reason: str | None
) -> None:
    network = start_architecture("cnn", channels=1, size=8, classes=10, width_multiplier=0.25)
    digits = load_dataset("digits")
    blobs = [
        encode(initialise(network, 0) * np.float32(scale)),
        encode_rows(digits.images[:40], digits.labels[:40]),
    ]
    cache = FileCache(tmp_path, 10**7)
    for blob in blobs:
        cache.write(digest_of(blob), [blob])
    task = TRAIN.task(
        "1/pre/a/1/phone-0",
        Train(architecture=network, epochs=1, batch_size=16, sgd=Sgd()),
        client="phone-0",
        inputs={"weights": digest_of(blobs[0])},
        data={"shard": digest_of(blobs[1])},
    )
    told: Any = OneTask(task)
    Client(told, cache, device_class="phone", name="a", workers=1, exit_when_over=True).run()
    assert len(told.introduced[0].numerics["digest"]) == 64
    assert [given[0] for given in told.given_back] == ([] if reason is None else [reason])
    assert told.completed == (reason is None)
    if reason is not None:
        assert "lower the optimizer's learningRate" in told.given_back[0][1]
