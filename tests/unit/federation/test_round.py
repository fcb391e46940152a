"""Rounds on fleets whose clients answer, fail or stay silent as a test says."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import Corrupt, StoreUnreachable, TaskFailed
from fednas.federation import (
    Cohort,
    Federation,
    Outcome,
    Pending,
    Result,
    Round,
    Task,
    quorum_of,
    trained_samples,
)
from fednas.models import start_architecture
from fednas.store import Blobs, Journal, digest_of
from tests.memory_store import MemoryStore

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10)
GROUPS = (("a", "b", "c", "d", "e"), ("f", "g", "h", "i", "j"), ("k", "l", "m", "n", "o"))
SAMPLES = {name: 10 + index for index, name in enumerate("abcdefghijklmno")}
SILENT = object()


class ScriptedFleet:
    """Does the cloud's work; ``clients`` says what becomes of a client's task."""

    def __init__(self, store: MemoryStore, clients: Callable[[Task], Any] = lambda task: None):
        self.blobs = Blobs(store, "work/blobs/")
        self.clients = clients
        self.submitted: list[str] = []
        self.cancelled: list[str] = []

    def submit(self, task: Task) -> Pending:
        pending = Pending(task)
        self.submitted.append(task.id)
        said = self.clients(task) if task.kind == "train" else None
        if said is SILENT:
            return pending
        pending.started.set_result(0.0)
        if isinstance(said, Exception):
            pending.future.set_exception(said)
        else:
            scalars = {"bytes": 4, "loss": 0.5, "correct": 6, "total": 8}
            content = f"{task.kind} {task.client} {sorted(task.inputs.items())} {task.params}"
            outputs = {"weights": self.blobs.put(content.encode())}
            pending.future.set_result(Result(outputs=outputs, scalars=scalars))
        return pending

    def cancel(self, pending: Pending) -> None:
        self.cancelled.append(pending.task.client)
        pending.future.cancel()

    def close(self) -> None:
        pass


def federation(
    store: MemoryStore, fleet: ScriptedFleet, *, timeout: float | None = 0.02
) -> Federation:
    journal = Journal(store, "journal/")
    journal.refresh()
    return Federation(
        fleet,
        journal,
        fleet.blobs,
        seed=7,
        shards={name: (digest_of(name.encode()), count) for name, count in SAMPLES.items()},
        validation="v",
        calibration="c",
        quorum=0.8,
        timeout=timeout,
    )


def round_of(first: int = 0) -> Round:
    def cohort(attempt: int) -> Cohort:
        group = (first + attempt) % len(GROUPS)
        return Cohort(GROUPS[group], group)

    optimizer = {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}
    return Round(
        iteration=1,
        phase="pre",
        candidate="conv",
        round=1,
        architecture=NETWORK,
        weights="start",
        macs=100,
        training={"epochs": 1.0, "batch_size": 4, "optimizer": optimizer},
        cohort=cohort,
    )


def play(federation: Federation, round: Round | None = None) -> Outcome:
    return asyncio.run(federation.play(round or round_of()))


def closed(federation: Federation) -> dict[str, Any]:
    return dict(federation.journal.records["001/pre/conv/01-closed"].value)


def test_a_round_averages_all_updates_by_samples_and_is_journalled() -> None:
    store = MemoryStore()
    fed = federation(store, ScriptedFleet(store))
    outcome = play(fed)
    assert (outcome.correct, outcome.total, outcome.failed) == (6, 8, False)
    updates = closed(fed)["updates"]
    assert [update["client"] for update in updates] == list("abcde")
    # 12 samples in batches of 4 are 3 steps; backward costs twice the forward pass.
    assert updates[2] | {"weights": ""} == {
        "client": "c",
        "weights": "",
        "samples": 12,
        "trainedSamples": 12,
        "macs": 3 * 100 * 12,
        "bytesDown": 4,
        "bytesUp": 4,
        "loss": 0.5,
    }
    assert fed.journal.records["001/pre/conv/01-aggregated"].value["weights"] == outcome.weights
    assert list(store.list("work/")) == list(store.list("work/blobs/" + outcome.weights))


def test_the_quorum_closes_a_round_at_its_deadline_and_stragglers_are_cancelled() -> None:
    store = MemoryStore()
    fleet = ScriptedFleet(store, lambda task: SILENT if task.client == "d" else None)
    fed = federation(store, fleet)
    assert not play(fed).failed
    assert [update["client"] for update in closed(fed)["updates"]] == list("abce")
    assert closed(fed)["missing"] == ["d"]
    assert fleet.cancelled == ["d"]


def test_without_a_quorum_the_next_group_tries() -> None:
    store = MemoryStore()

    fleet = ScriptedFleet(store, lambda task: SILENT if task.client in "ab" else None)
    fed = federation(store, fleet)
    assert not play(fed).failed
    assert closed(fed)["group"] == 1
    assert [update["client"] for update in closed(fed)["updates"]] == list("fghij")
    assert sorted(fleet.cancelled) == ["a", "b"]


def test_after_three_groups_the_candidate_has_failed_and_it_stays_so() -> None:
    store = MemoryStore()
    fleet = ScriptedFleet(store, lambda task: TaskFailed("out of battery"))
    fed = federation(store, fleet)
    assert play(fed) == Outcome("start", failed=True)
    assert closed(fed)["updates"] == []
    assert len(fleet.submitted) == 15
    assert fed.last_failure == "out of battery"
    healthy = ScriptedFleet(store)
    assert play(federation(store, healthy)).failed
    assert healthy.submitted == []


def test_what_is_no_client_s_fault_ends_the_search() -> None:
    store = MemoryStore()
    fleet = ScriptedFleet(
        store, lambda task: StoreUnreachable("no answer") if task.client == "b" else None
    )
    with pytest.raises(StoreUnreachable):
        play(federation(store, fleet))
    assert list(store.list("journal/")) == []


def test_a_replay_trains_nobody_and_obeys_the_record() -> None:
    store = MemoryStore()
    first = play(federation(store, ScriptedFleet(store)))
    again = ScriptedFleet(store)
    assert play(federation(store, again)) == first
    assert again.submitted == []


def test_a_round_that_was_closed_is_averaged_over_the_same_updates() -> None:
    store = MemoryStore()
    fleet = ScriptedFleet(store, lambda task: SILENT if task.client == "e" else None)
    undisturbed = play(federation(store, fleet))
    record = store.get("journal/001/pre/conv/01-aggregated.json")

    killed = MemoryStore()
    dying = ScriptedFleet(killed, lambda task: SILENT if task.client == "e" else None)
    asyncio.run(_close_only(federation(killed, dying)))
    everyone = ScriptedFleet(killed)  # client e is back, but its round is over
    assert play(federation(killed, everyone)) == undisturbed
    assert everyone.submitted == ["001/pre/conv/01/aggregate", "001/pre/conv/01/evaluate"]
    assert killed.get("journal/001/pre/conv/01-aggregated.json") == record


async def _close_only(fed: Federation) -> None:
    """What a process does that dies before it has averaged."""
    fed.journal.record("001/pre/conv/01-closed", await fed._train(round_of()))


@pytest.mark.parametrize("damage", [None, b"", b"foreign"])
def test_updates_that_a_power_cut_took_are_trained_again(damage: bytes | None) -> None:
    store = MemoryStore()
    undisturbed = play(federation(store, ScriptedFleet(store)))
    killed = MemoryStore()
    asyncio.run(_close_only(federation(killed, ScriptedFleet(killed))))
    updates = closed(federation(killed, ScriptedFleet(killed)))["updates"]
    for update in updates[1:3]:
        killed.delete("work/blobs/" + update["weights"])
        if damage is not None:
            killed.put("work/blobs/" + update["weights"], damage)
    before = dict(killed.objects)

    absent = ScriptedFleet(killed, lambda task: TaskFailed("gone for good"))
    with pytest.raises(Corrupt, match="the update of b in 001/pre/conv/01 is gone"):
        play(federation(killed, absent))
    assert killed.objects == before

    again = ScriptedFleet(killed)
    assert play(federation(killed, again)) == undisturbed
    assert again.submitted[:2] == ["001/pre/conv/01/b", "001/pre/conv/01/c"]
    assert killed.get("journal/001/pre/conv/01-aggregated.json") == store.get(
        "journal/001/pre/conv/01-aggregated.json"
    )


def test_an_average_without_its_updates_is_corrupt() -> None:
    store = MemoryStore()
    play(federation(store, ScriptedFleet(store)))
    store.delete("journal/001/pre/conv/01-closed.json")
    with pytest.raises(Corrupt, match="no 001/pre/conv/01-closed"):
        play(federation(store, ScriptedFleet(store)))


def test_the_clock_starts_when_a_worker_takes_the_first_task() -> None:
    store = MemoryStore()
    waiting: list[Pending] = []

    class BusyFleet(ScriptedFleet):
        def submit(self, task: Task) -> Pending:
            pending = super().submit(task)
            if task.kind == "train":
                waiting.append(pending)
            return pending

    fed = federation(store, BusyFleet(store, lambda task: SILENT), timeout=0.001)

    async def scenario() -> tuple[bool, set[str]]:
        playing = asyncio.ensure_future(fed.play(round_of()))
        await asyncio.sleep(0.02)  # twenty times the deadline: nobody has begun
        patient = len(waiting) == 5 and not playing.done()
        for pending in waiting[:5]:
            pending.started.set_result(0.0)
        await asyncio.sleep(0.02)
        tried = {pending.task.client for pending in waiting}
        playing.cancel()
        return patient, tried

    patient, tried = asyncio.run(scenario())
    assert patient
    assert tried == set("abcdefghij")


@given(st.floats(0.01, 1), st.integers(1, 10_000))
def test_a_quorum_spares_one_client_but_never_all(share: float, clients: int) -> None:
    quorum = quorum_of(share, clients)
    assert 1 <= quorum <= max(1, clients - 1)
    if 1 < quorum < clients - 1:
        assert quorum >= share * clients - 1e-6
        assert quorum - 1 < share * clients


def test_quorums_by_hand() -> None:
    assert [quorum_of(0.8, n) for n in (1, 2, 3, 5, 10, 12)] == [1, 1, 2, 4, 8, 10]
    assert quorum_of(0.28, 25) == 7  # 7.000000000000001 in floats
    assert quorum_of(1.0, 100) == 99


@given(st.integers(2, 5000), st.floats(0.01, 100), st.integers(1, 4096))
def test_trained_samples_are_full_batches_that_cover_the_epochs(
    samples: int, epochs: float, batch_size: int
) -> None:
    trained = trained_samples(samples, epochs, batch_size)
    batch = min(samples, batch_size)
    assert trained % batch == 0
    assert trained >= math.floor(epochs * samples)
    assert trained < epochs * samples + batch + 1
