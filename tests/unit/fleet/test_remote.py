"""Who is given work, and what becomes of failures: over a bucket that holds nothing but heads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fednas.data import encode_rows
from fednas.errors import DiedInTask, TaskFailed, TrainingDiverged
from fednas.fleet import _leases, _remote
from fednas.fleet._protocol import PROTOCOL, Fail, Grant, Register
from fednas.fleet._remote import RemoteFleet
from fednas.fleet._sessions import Session
from fednas.models import encode
from fednas.store import Layout
from fednas.work import Pending, Task

LAYOUT = Layout()
TASK = Task(
    id="1/pre/a/1/phone-0",
    kind="train",
    client="phone-0",
    inputs={"weights": "w"},
    data={"shard": "s"},
)


HEADS = {
    LAYOUT.blobs + "w": encode(np.zeros(9, np.float32)),
    LAYOUT.data + "s": encode_rows(np.zeros((7, 1, 2, 2), np.uint8), np.zeros(7, np.int64)),
}


class Bucket:
    """What a fleet asks of a store."""

    def get_range(self, key: str, length: int) -> bytes:
        return HEADS[key][:length]

    def list(self, prefix: str) -> Iterator[Any]:
        return iter(())

    def presigned_get(self, key: str, seconds: float) -> str:
        return key

    def presigned_post(self, key: str, size: int, seconds: float) -> Any:
        return SimpleNamespace(url=key, fields={})


class Untended(RemoteFleet):
    """Nobody looks after it each second: what has to happen at once does so, or never."""

    tended = False

    def _tend(self) -> None:
        if self.tended:
            super()._tend()


class Tended(Untended):
    tended = True


def opened(kind: type[RemoteFleet]) -> RemoteFleet:
    fleet = kind({"phone-0": "phone", "phone-1": "phone"})
    cloud: Any = SimpleNamespace(close=lambda: None)
    fleet.open(Bucket(), LAYOUT, cloud)  # type: ignore[arg-type]
    return fleet


@pytest.fixture
def fleet() -> Iterator[RemoteFleet]:
    made = opened(Untended)
    yield made
    made.close()


def registered(fleet: RemoteFleet, name: str, digest: str | None = "a") -> Session:
    numerics = {} if digest is None else {"digest": digest * 64}
    return fleet.register(
        Register(protocol=PROTOCOL, device_class="phone", name=name, numerics=numerics)
    )


async def stays() -> bool:
    return False


def lease(fleet: RemoteFleet, session: Session) -> Grant | None:
    return asyncio.run(fleet.lease(session, 0, stays))


def failed(fleet: RemoteFleet, pending: Pending, reason: Any, names: str) -> None:
    for name in names:
        grant = lease(fleet, registered(fleet, name))
        assert grant is not None
        assert fleet.fail(grant.lease, reason, "loss nan")


@pytest.mark.parametrize("digest", ["b", None], ids=["other", "none told"])
def test_a_program_of_other_bits_is_leased_nothing_until_it_is_accepted(
    fleet: RemoteFleet, digest: str | None
) -> None:
    fleet.numerics.accept("a" * 64)
    fleet.submit(TASK)
    other = registered(fleet, "other", digest)
    assert lease(fleet, other) is None
    assert fleet.strangers() == [other]
    fleet.numerics.accept(other.digest)
    assert lease(fleet, other) is not None
    assert fleet.strangers() == []


def test_while_the_search_has_no_numerics_everybody_may_work(fleet: RemoteFleet) -> None:
    fleet.submit(TASK)
    assert lease(fleet, registered(fleet, "any", "f")) is not None


@pytest.mark.parametrize("why", ["other bits", "bad updates"])
def test_a_task_wakes_a_program_that_may_have_it_and_none_that_may_not(
    fleet: RemoteFleet, why: str
) -> None:
    fleet.numerics.accept("a" * 64)
    idle, ours = registered(fleet, "x", "b" if why == "other bits" else "a"), registered(fleet, "y")
    if why == "bad updates":
        fleet._book.benched_holders.add(idle.holder)

    async def scenario() -> tuple[Grant | None, bool]:
        first = asyncio.ensure_future(fleet.lease(idle, 20, stays))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(fleet.lease(ours, 20, stays))
        await asyncio.sleep(0.05)
        fleet.submit(TASK)
        grant = await asyncio.wait_for(second, 5)
        waits = not first.done()
        first.cancel()
        await asyncio.wait([first])
        return grant, waits

    grant, waits = asyncio.run(scenario())
    assert grant is not None
    assert grant.task == TASK
    assert waits


def test_a_program_that_waits_for_consent_has_work_soon_after_it() -> None:
    fleet = opened(Tended)
    fleet.numerics.accept("a" * 64)
    fleet.submit(TASK)
    other = registered(fleet, "other", "b")

    async def scenario() -> Grant | None:
        waiting = asyncio.ensure_future(fleet.lease(other, 20, stays))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        fleet.numerics.accept_any()
        return await asyncio.wait_for(waiting, 5)

    try:
        assert asyncio.run(scenario()) is not None
    finally:
        fleet.close()


def test_everybody_who_waits_is_told_that_the_search_is_over(fleet: RemoteFleet) -> None:
    fleet.numerics.accept("a" * 64)
    sessions = [registered(fleet, "x", "b"), registered(fleet, "y")]

    async def scenario() -> list[Grant | None]:
        waiting = [asyncio.ensure_future(fleet.lease(one, 20, stays)) for one in sessions]
        await asyncio.sleep(0.05)
        fleet.finish()
        return await asyncio.wait_for(asyncio.gather(*waiting), 5)

    assert asyncio.run(scenario()) == [None, None]


def test_divergence_is_passed_on_as_such_and_at_once(fleet: RemoteFleet) -> None:
    pending = fleet.submit(TASK)
    failed(fleet, pending, "TrainingDiverged", "x")
    with pytest.raises(TrainingDiverged, match="loss nan"):
        pending.future.result(0)
    assert lease(fleet, registered(fleet, "y")) is None


@pytest.mark.parametrize(
    ("reason", "kind"), [("DiedInTask", DiedInTask), ("TaskFailed", TaskFailed)]
)
def test_other_faults_are_passed_on_after_three_attempts(
    fleet: RemoteFleet, reason: str, kind: type[TaskFailed]
) -> None:
    pending = fleet.submit(TASK)
    failed(fleet, pending, reason, "xy")
    assert not pending.future.done()
    failed(fleet, pending, reason, "z")
    error = pending.future.exception(0)
    assert type(error) is kind
    assert f"{_leases.ATTEMPTS} attempts failed, the last with: {reason}: loss nan" in str(error)


def test_the_wire_knows_divergence_since_protocol_2() -> None:
    said = Fail.model_validate({"session": "0" * 32, "reason": "TrainingDiverged"})
    assert said.reason in _remote._ERRORS
    assert PROTOCOL == 2
