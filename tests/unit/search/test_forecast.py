"""What a search will cost: its schedule by hand, and its price by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from fednas.data import Shard, Shards
from fednas.errors import BadInput
from fednas.search import STRATEGIES, Forecast, forecast, strategy_of
from fednas.spec import FederatedSearch
from fednas.store import Blobs
from tests.memory_store import MemoryStore
from tests.unit.search.table import problem
from tests.unit.search.toy import search, space

FULL = 3 * 16 * 16 + 10 * 16
SAMPLES = 128
"""That a client of 100 rows trains in batches of 32."""


def shards() -> Shards:
    names = [*(f"phone-{i}" for i in range(8)), *(f"hub-{i}" for i in range(4))]
    return Shards(
        input=(1, 8, 8),
        classes=10,
        clients={name: Shard(shard="0" * 64, samples=100) for name in names},
        validation=Shard(shard="1" * 64, samples=50),
        calibration=Shard(shard="2" * 64, samples=20),
        test=Shard(shard="3" * 64, samples=30),
        digest="",
        labels=tuple(range(10)),
        test_only=(),
        majority=0.1,
        files=(),
    )


def foreseen(search: FederatedSearch) -> Forecast:
    def none(field: str, path: str) -> bytes:
        raise AssertionError(field)

    return forecast(search, space(), shards(), tables=Blobs(MemoryStore(), ""), read=none)


def test_a_schedule_of_growing_rounds_and_a_drop_by_hand() -> None:
    spec = search(
        rounds={"growing": {"pre": 1, "postMin": 0, "postMax": 2}},
        screening={"topK": {"keep": 3}},
        earlyDrop={"topK": {"keep": 2}},
    )
    first, second, third = strategy_of(spec).schedule(problem())
    # 742.4 MACs are the first target; of 16 filters each layer is left as many as meet it.
    assert [one.architecture.widths[one.index] for one in first.candidates] == [4, 10, 10, 8]
    assert first.cost == (736 + 736 + 736 + 720) / 4
    assert second.cost <= first.cost - 0.18 * FULL
    assert third.cost <= 0.5 * FULL
    assert [one.planned["post"] for one in (first, second, third)] == [0, 1, 2]
    assert [one.most for one in (first, second, third)] == [
        {"pre": 3, "post": 0},
        {"pre": 3, "post": 2},
        {"pre": 3, "post": 4},
    ]
    assert third.least == third.most


@pytest.mark.parametrize("strategy", ["netAdapt", "random", "uniform"])
@pytest.mark.parametrize("step", [0.01, 0.03, 0.12])
def test_a_schedule_of_narrow_layers_goes_all_the_way(strategy: str, step: float) -> None:
    spec = search(strategy=strategy, firstStep=step, stepDecay=1.0, maxIterations=100)
    costs = [FULL, *(one.cost for one in strategy_of(spec).schedule(problem()))]
    assert costs[-2] > 0.5 * FULL >= costs[-1]
    assert all(after <= max(before - step * FULL, 0.5 * FULL) for before, after in pairwise(costs))


def test_adaptive_rounds_are_a_range() -> None:
    rounds = {"adaptive": {"pre": 1, "postMax": 3, "patience": 1}}
    found = foreseen(search(rounds=rounds, maxIterations=1))
    (only,) = found.iterations
    assert (only.least, only.most) == ({"pre": 4, "post": 2}, {"pre": 4, "post": 6})
    assert found.candidate_rounds == (6, 10)
    assert found.most.search.macs * 6 == pytest.approx(found.least.search.macs * 10)
    assert found.factors is not None
    assert found.factors[0] < found.factors[1]


@pytest.mark.parametrize(("groups", "cheaper"), [(4, 4.0), (1, 1.0)])
def test_the_clients_bill_by_hand(groups: int, cheaper: float) -> None:
    rounds = {"constant": {"pre": 2, "post": 0}}
    spec = search(
        "finalTraining.rounds=5",
        "finalTraining.clientsPerRound=6",
        "finalTraining.batchSize=32",
        "model.initial.training.batchSize=32",
        strategy="uniform",
        clientGroups=groups,
        rounds=rounds,
        maxIterations=1,
    )
    found = foreseen(spec)
    (only,) = found.iterations
    (candidate,) = only.candidates
    macs, values = candidate.costs["macs"], 3 * sum(candidate.architecture.widths)
    cost, each = found.most.search, 12 // groups
    assert found.least == found.most
    assert cost.client_rounds == 2 * each
    assert cost.samples == 2 * each * SAMPLES
    assert cost.macs == 3 * macs * 2 * each * SAMPLES
    assert cost.bytes_down == cost.bytes_up == 2 * each * 4 * values
    assert found.naive_macs == 3 * macs * 2 * 12 * SAMPLES
    assert found.factors == (cheaper, cheaper)
    assert found.initial.macs == 2 * 3 * 3 * FULL * SAMPLES
    # The hub's budget is 0.9, met by the only rung but the start; the phone's is met by none.
    assert found.tuned == 1
    assert found.final.macs == 5 * 6 * 3 * macs * SAMPLES
    both = 2 * macs * 50 + 2 * macs * 30  # the rung and its baseline, refitted: no statistics
    assert found.most.evaluated == (
        2 * FULL * 70 + FULL * 30 + both + 2 * macs * 70 + 5 * macs * 70 + macs * 30
    )


def test_winner_and_runner_up_are_evaluated_once_more() -> None:
    found = foreseen(
        search(
            "baseline=none",
            "model.initial.weights=start",
            rounds={"constant": {"pre": 0, "post": 0}},
            maxIterations=1,
        )
    )
    (only,) = found.iterations
    macs = [one.costs["macs"] for one in only.candidates]
    tested = 30 * (FULL + space().macs(only.network.widths))
    mean = sum(macs) / len(macs)
    assert len(macs) == 4
    assert found.most.evaluated == FULL * 70 + sum(macs) * 50 + tested + 2 * 50 * mean


def test_a_search_that_trains_no_candidate_costs_its_clients_nothing() -> None:
    found = foreseen(search(rounds={"constant": {"pre": 0, "post": 0}}))
    assert (found.most.search.macs, found.candidate_rounds, found.factors) == (0, (0, 0), None)


def test_a_strategy_without_a_schedule_cannot_be_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    class Secretive:
        def num_groups(self, space: Any, clients: int) -> int:
            return 1

    monkeypatch.setitem(STRATEGIES, "netAdapt", lambda settings: Secretive())  # type: ignore[arg-type,return-value]
    with pytest.raises(BadInput, match=r"spec\.strategy: got netAdapt, which declares no schedule"):
        foreseen(search())


def test_distillation_by_hand() -> None:
    """Batches of 50 validation images, which the start answers as well; no client has a part."""
    taught = ("distillation.steps=7", "deviceClasses.phone.budget.macs.share=0.7")
    found = foreseen(search(*taught, strategy="uniform", maxIterations=2))
    wide, narrow = (one.candidates[0].costs["macs"] for one in found.iterations)
    assert found.taught == 7 * 50 * (3 * wide + FULL + 3 * narrow + FULL)
    assert (found.final.macs, found.tuned) == (0, 0)
    plain = foreseen(search(taught[1], strategy="uniform", maxIterations=2))
    assert plain.taught == 0
    assert found.most.evaluated - plain.most.evaluated == (wide + narrow) * (70 + 30)
    final = ("finalTraining.rounds=2", "finalTraining.clientsPerRound=6")
    again = 3 * narrow + wide
    trained = foreseen(search(*taught, *final, strategy="uniform", maxIterations=2))
    assert trained.taught == found.taught + 7 * 50 * again
    largest = (*final, "finalTraining.rungs=largest")
    alone = foreseen(search(*taught, *largest, strategy="uniform", maxIterations=2))
    assert (alone.taught, alone.tuned) == (7 * 50 * (3 * wide + FULL + again), 1)
    assert alone.final.macs * (wide + narrow) == trained.final.macs * wide
    nested = (*final, "finalTraining.nested=true")
    assert foreseen(search(*taught, *nested, strategy="uniform", maxIterations=2)).taught == (
        7 * 50 * (3 * wide + FULL + again)
    )


def test_nested_final_training_by_hand() -> None:
    """Two thirds of the clients get the narrower network; the others train it besides theirs."""
    spec = search(
        "finalTraining.rounds=5",
        "finalTraining.clientsPerRound=6",
        "finalTraining.batchSize=32",
        "finalTraining.nested=true",
        "deviceClasses.phone.budget.macs.share=0.7",
        strategy="uniform",
        maxIterations=2,
    )
    found = foreseen(spec)
    wide, narrow = (one.candidates[0].costs["macs"] for one in found.iterations)
    assert found.tuned == 2
    assert found.final.client_rounds == 5 * 6
    assert found.final.macs == 3 * SAMPLES * 5 * (2 * (wide + narrow) + 4 * narrow)
    alone = foreseen(
        spec.model_copy(
            update={
                "spec": spec.spec.model_copy(
                    update={
                        "final_training": spec.spec.final_training.model_copy(
                            update={"nested": False}
                        )
                    }
                )
            }
        )
    )
    assert alone.final.macs == 3 * SAMPLES * 5 * 6 * (wide + narrow)
