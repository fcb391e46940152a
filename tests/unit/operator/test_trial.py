"""What `helm test` says of a search, by how it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from fednas_operator import names
from fednas_operator.cluster import Cluster
from fednas_operator.trial import follow
from tests.unit.operator.cluster import FakeApi, Fault, Object

NAME = "fednas-test"


def search(phase: str, **conditions: tuple[str, str]) -> Object:
    found = [
        {"type": kind, "status": status, "reason": reason, "message": f"because of {reason}"}
        for kind, (status, reason) in conditions.items()
    ]
    return {
        "kind": names.KIND,
        "metadata": {"namespace": "fednas", "name": NAME},
        "status": {"phase": phase, "conditions": found},
    }


def outcome(*states: Object | Fault) -> tuple[bool, list[str], float]:
    """Whether it went well, what was told, and after how many seconds; the last state stays."""
    api = FakeApi(lambda kind, event, item: None)
    coming: Iterator[Object | Fault] = iter(states)
    now, told = 0.0, []

    def step() -> None:
        state = next(coming, None)
        if isinstance(state, Fault):
            api.fault = lambda request: state
        elif state is not None:
            api.fault = lambda request: None
            api.put(state)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        step()

    step()
    cluster = Cluster(api)
    waits: dict[str, Any] = {"tell": told.append, "clock": lambda: now, "sleep": sleep}
    good = asyncio.run(follow(cluster, "fednas", NAME, 600.0, **waits))
    return good, told, now


def test_a_search_that_completes_and_is_tracked_passes() -> None:
    good, told, seconds = outcome(
        search("Running"),
        Fault(0),
        search("Complete", Tracked=("False", "Pending")),
        search("Complete", Complete=("True", "TargetReached"), Tracked=("True", "Delivered")),
    )
    assert good
    assert seconds == 6
    assert told[0] == "Running"
    assert "Complete TargetReached: because of TargetReached" in told[-1]


def test_a_search_without_tracking_passes_at_its_end() -> None:
    assert outcome(search("Complete"))[0]


def test_a_search_that_fails_says_why() -> None:
    good, told, seconds = outcome(search("Failed", Failed=("True", "BadInput")))
    assert (good, seconds) == (False, 0)
    assert told == ["Failed; Failed BadInput: because of BadInput"]


def test_a_store_that_is_not_there_is_told_until_time_is_up() -> None:
    good, told, seconds = outcome(search("Running", Degraded=("True", "StoreUnreachable")))
    assert (good, seconds) == (False, 600)
    assert told == [
        "Running; Degraded StoreUnreachable: because of StoreUnreachable",
        "gave up",
    ]


def test_a_tracking_server_that_takes_nothing_fails_a_minute_after_the_end() -> None:
    good, told, seconds = outcome(search("Complete", Tracked=("False", "Pending")))
    assert (good, seconds) == (False, 60)
    assert told[0] == "Complete; Tracked Pending: because of Pending"


def test_an_operator_that_is_away_is_told() -> None:
    state = search("")
    del state["status"]
    assert outcome(state)[1][0] == "not looked at by an operator yet"
