from __future__ import annotations

import asyncio
import gc
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import StoreUnreachable, TaskFailed, TrainingDiverged
from fednas.federation import Closing, Failure, Federation, RoundId, quorum_of
from fednas.models import Model
from fednas.work import Task, trained_samples
from tests.unit.federation.fleets import (
    NETWORK,
    SILENT,
    WAITING,
    ScriptedFleet,
    federation,
    round_of,
)


def train(fed: Federation) -> Closing:
    return asyncio.run(fed.train(round_of()))


def names(closing: Closing) -> list[str]:
    assert closing.updates is not None
    return ["abcdefghijklmno"[index] for index in closing.updates.clients]


def test_a_round_collects_what_each_client_paid() -> None:
    closing = train(federation(ScriptedFleet()))
    updates = closing.updates
    assert updates is not None
    assert names(closing) == list("abcde")
    assert (closing.missing, closing.failure) == ((), None)
    # Client c: 12 samples in batches of 4 are 3 steps; backward costs twice the forward pass.
    assert {name: int(column[2]) for name, column in updates.counts.items()} == {
        "samples": 12,
        "trained": 12,
        "macs": 3 * 100 * 12,
        "bytes_down": 4,
        "bytes_up": 4,
    }
    assert updates.mean("loss") == 0.5


def test_the_mean_is_over_each_output_with_samples_as_weights() -> None:
    fleet = ScriptedFleet()
    fed = federation(fleet)
    updates = train(fed).updates
    assert updates is not None
    tasks = []
    submit = fleet.submit
    fleet.submit = lambda task: (tasks.append(task), submit(task))[1]  # type: ignore[method-assign]
    means = asyncio.run(fed.aggregate(RoundId(1, "pre", "conv", 1), updates))
    (task,) = tasks
    assert task.params["weights"] == {"a": 10, "b": 11, "c": 12, "d": 13, "e": 14}
    assert list(task.inputs) == list("abcde")
    assert means.keys() == {"weights"}


def test_the_quorum_closes_a_round_at_its_deadline_and_stragglers_are_cancelled() -> None:
    fleet = ScriptedFleet(lambda task: SILENT if task.client == "d" else None)
    closing = train(federation(fleet))
    assert names(closing) == list("abce")
    assert closing.missing == ("d",)
    assert closing.failure == Failure("QuorumMissed", "1 of 5 clients gave no update in time")
    assert fleet.cancelled == ["d"]


def test_without_a_quorum_the_next_group_tries() -> None:
    fleet = ScriptedFleet(lambda task: SILENT if task.client in "ab" else None)
    closing = train(federation(fleet))
    assert closing.cohort.group == 1
    assert names(closing) == list("fghij")
    assert sorted(fleet.cancelled) == ["a", "b"]


def test_after_three_groups_the_round_has_failed_and_says_why() -> None:
    fleet = ScriptedFleet(lambda task: TaskFailed("out of battery"))
    closing = train(federation(fleet))
    assert closing.updates is None
    assert closing.failure is not None
    assert closing.failure.reason == "TaskFailed"
    assert "out of battery" in closing.failure.message
    assert len(fleet.submitted) == 15
    assert closing.missing == tuple("klmno")


def test_training_that_diverges_is_deterministic_and_not_tried_with_others() -> None:
    fleet = ScriptedFleet(lambda task: TrainingDiverged("loss nan"))
    closing = train(federation(fleet))
    assert closing.updates is None
    assert closing.failure is not None
    assert closing.failure.reason == "TrainingDiverged"
    assert len(fleet.submitted) == 5


def test_divergence_stops_a_round_only_beyond_what_the_quorum_can_spare() -> None:
    def said(task: Task, diverged: str) -> object:
        if task.client in diverged:
            return TrainingDiverged("loss nan")
        return TaskFailed("out of battery") if task.client in "abcde" else None

    spared = ScriptedFleet(lambda task: said(task, "b"))
    closing = train(federation(spared))
    assert names(closing) == list("fghij")
    assert closing.failure is None
    beyond = ScriptedFleet(lambda task: said(task, "bc"))
    closing = train(federation(beyond))
    assert (closing.updates, closing.missing) == (None, tuple("abcde"))
    assert closing.failure == Failure("TrainingDiverged", "c: loss nan"), "before all other reasons"
    assert len(beyond.submitted) == 5


def test_a_failure_is_told_also_where_others_were_only_late() -> None:
    late = ScriptedFleet(
        lambda task: TaskFailed("out of battery") if task.client in "afk" else SILENT
    )
    closing = train(federation(late))
    assert closing.updates is None
    assert closing.failure == Failure("TaskFailed", "k: out of battery")


def test_one_client_that_diverges_is_missed_and_named() -> None:
    fleet = ScriptedFleet(lambda task: TrainingDiverged("loss nan") if task.client == "b" else None)
    closing = train(federation(fleet))
    assert names(closing) == list("acde")
    assert closing.failure == Failure("TrainingDiverged", "b: loss nan")


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("others", [SILENT, WAITING], ids=["never done", "never taken"])
def test_what_is_no_clients_fault_ends_the_others_at_once(
    timeout: float | None, others: object, caplog: pytest.LogCaptureFixture
) -> None:
    def said(task: Task) -> object:
        return StoreUnreachable(task.client) if task.client in "bc" else others

    fleet = ScriptedFleet(said)

    def told() -> str:
        """In a frame of its own: what holds the error holds the futures."""
        with pytest.raises(StoreUnreachable) as error:
            train(federation(fleet, timeout=timeout))
        return str(error.value)

    assert told() in "bc"
    assert fleet.cancelled == ["a", "d", "e"]
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_lost_updates_are_asked_for_by_the_same_tasks_again() -> None:
    fleet = ScriptedFleet()
    fed = federation(fleet)
    first = train(fed).updates
    assert first is not None
    again = asyncio.run(fed.again(round_of(), ["b", "d"]))
    assert fleet.submitted[5:] == fleet.submitted[1:4:2]
    assert again["b"].outputs["weights"] == first.digests["weights"][1]


@pytest.mark.parametrize("refit", [True, False])
def test_a_network_is_cut_and_evaluated_in_the_cloud_with_statistics_taken_once(
    refit: bool,
) -> None:
    fleet, tasks = ScriptedFleet(), []
    submit = fleet.submit
    fleet.submit = lambda task: (tasks.append(task), submit(task))[1]  # type: ignore[method-assign]
    child = NETWORK.with_widths([4] * len(NETWORK.widths))
    parent = Model(NETWORK, {"weights": "w", "other": "o"})
    cut, _ = asyncio.run(federation(fleet, refit=refit).cut("0001", parent, child))
    derived, evaluated = tasks
    assert (derived.id, derived.kind, derived.client) == ("0001/derive", "derive", "cloud")
    assert derived.inputs == {"weights": "w", "space": "s"}
    assert derived.data == ({"calibration": "c"} if refit else {})
    assert (evaluated.id, evaluated.kind, evaluated.client) == (
        "0001/evaluate",
        "evaluate",
        "cloud",
    )
    assert evaluated.data == {"shard": "v"} | ({} if refit else {"calibration": "c"})
    assert (cut.architecture, cut.blobs.keys()) == (child, {"weights"})


def test_two_networks_are_compared_in_the_cloud_with_the_statistics_they_have() -> None:
    fleet, tasks = ScriptedFleet(), []
    submit = fleet.submit
    fleet.submit = lambda task: (tasks.append(task), submit(task))[1]  # type: ignore[method-assign]
    rival = Model(NETWORK.with_widths([4] * len(NETWORK.widths)), {"weights": "r"})
    asyncio.run(federation(fleet).compare("0001/compare", Model(NETWORK, {"weights": "w"}), rival))
    (task,) = tasks
    assert (task.id, task.kind, task.client) == ("0001/compare", "compare", "cloud")
    assert task.inputs == {"weights": "w", "rival": "r"}
    assert task.data == {"shard": "v"}
    assert task.params["rival"] == rival.architecture.model_dump(mode="json")


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
