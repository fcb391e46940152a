"""The seams hold what is coming: a strategy without a client, and a kind with two outputs.

Each is a class in this file and a line in a table; nothing of fednas is touched.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from fednas.data import make_shards
from fednas.errors import Corrupt
from fednas.federation import RoundId
from fednas.models import Architecture, Model, decode, encode
from fednas.search import (
    STRATEGIES,
    Added,
    AddRung,
    Candidate,
    Compute,
    Cut,
    Ending,
    Entrant,
    Event,
    Outcome,
    Problem,
    Recorded,
    Steps,
    Train,
    ask,
    status_of,
)
from fednas.space import Space, costs
from fednas.store import digest_of
from fednas.work import KINDS, Kind, Output, Params, Source, Task, TaskDone, Work
from tests.memory_store import MemoryStore
from tests.unit.search.toy import DIGITS, killed_at_each_entry, run, search

# --- a strategy that widens nothing but counts: no client works for it ---------------------------


class Count(Params):
    """Which network."""

    architecture: Architecture


def count(task: Task, params: Count, source: Source) -> Work:
    """Work of the cloud: how many filters a network has."""
    return Work(sums={"filters": float(sum(params.architecture.widths))})


COUNT = Kind("count", Count, count)


class Counting:
    """In each iteration every layer loses a filter, as long as there are more than sixty."""

    phases: tuple[str, ...] = ("counted",)

    def __init__(self, settings: Any) -> None:
        self.iterations = 7

    def num_groups(self, space: Space, clients: int) -> int:
        return 1

    def progress(self, share: float, budget: float) -> float:
        return 0.5

    def search(self, problem: Problem, start: Outcome) -> Steps[Ending]:
        current = start
        for iteration in range(1, self.iterations + 1):
            counted = yield from ask(
                Compute(
                    RoundId(iteration, "counted", "", 1),
                    COUNT,
                    Count(architecture=current.model.architecture),
                    inputs={},
                )
            )
            if counted.sums["filters"] <= 56:
                return Ending("Completed", f"{counted.sums['filters']:g} filters")
            widths = tuple(width - 1 for width in current.model.architecture.widths)
            network = current.model.architecture.with_widths(widths)
            changes = {group.name: widths[group.choice] for group in problem.space.groups}
            thinner = Candidate("all", 0, changes, network, costs(problem.space, widths), True)
            model = current.model
            outcomes = yield from ask(Cut(iteration, "counted", model, model, 0, {}, [thinner]))
            current = outcomes["all"]
            yield from ask(AddRung(iteration, "all", current))
        return Ending("BudgetNotReachable", "too many filters")


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "netAdapt", Counting)
    monkeypatch.setitem(KINDS, "count", COUNT)


def test_a_strategy_of_its_own_runs_and_is_shown_without_a_client(counting: None) -> None:
    spec, phases = search("model.initial.weights=start"), set()
    weights = encode(np.ones(3 * 64, np.float32))
    view = run(spec, MemoryStore(), weights=lambda: weights, before=lambda t: phases.add(t.client))
    assert phases == {"cloud"}
    assert view.end is not None
    assert (view.end.reason, view.end.message) == ("Completed", "56 filters")
    assert [rung.architecture.widths for rung in view.ladder] == [
        (16, 16, 16, 16),
        (15, 15, 15, 15),
        (14, 14, 14, 14),
    ]
    assert (view.ledger.search.macs, view.ledger.factors) == (0, {})
    assert [row["candidate"] for row in view.rounds] == ["", "all", "all"]
    assert view.decisions == []  # nobody was dropped
    status = status_of(view, spec)
    assert status.display is not None
    assert (status.phase, status.display.iteration) == ("Complete", "3/7")
    assert status.rounds == 0


# --- a kind of work with two named outputs -------------------------------------------------------


class Twin(Params):
    """What is trained."""

    architecture: Architecture


def twin(task: Task, params: Twin, source: Source) -> Work:
    """A client moves two vectors: its weights by noise, its alphas by their seed."""
    noise = np.random.default_rng(task.seed)
    weights = decode(source.blob(task.inputs["weights"]))
    alphas = decode(source.blob(task.inputs["alphas"]))
    return Work(
        {
            "weights": encode(weights + noise.random(weights.size, np.float32)),
            "alphas": encode(alphas + noise.random(alphas.size, np.float32)),
        },
        {"entropy": float(alphas.size)},
    )


TWIN = Kind(
    "twin",
    Twin,
    twin,
    outputs=(Output("weights"), Output("alphas", like="alphas")),
    sums=("entropy",),
    samples=lambda params, rows: rows,
    passes=3,
)


class Alphas(Params):
    """How many."""

    number: int


def alphas(task: Task, params: Alphas, source: Source) -> Work:
    """The first architecture variables."""
    return Work({"alphas": encode(np.zeros(params.number, np.float32))})


ALPHAS = Kind("alphas", Alphas, alphas)


class Relaxed:
    """Two rounds an iteration train weights and architecture variables together."""

    phases: tuple[str, ...] = ("relaxed",)

    def __init__(self, settings: Any) -> None:
        self.iterations = 2

    def num_groups(self, space: Space, clients: int) -> int:
        return 2

    def progress(self, share: float, budget: float) -> float:
        return 0.0

    def search(self, problem: Problem, start: Outcome) -> Steps[Ending]:
        first = RoundId(1, "relaxed", "", 0)
        made = yield from ask(Compute(first, ALPHAS, Alphas(number=5), inputs={}))
        model: Model = start.model.having(made.outputs)
        for iteration in (1, 2):
            for number in (1, 2):
                outcomes = yield from ask(
                    Train(
                        RoundId(iteration, "relaxed", "", number),
                        {"supernet": Entrant(model, partial(problem.cohort, number))},
                        TWIN,
                        lambda network: Twin(architecture=network),
                    )
                )
                model = outcomes["supernet"].model
            yield from ask(AddRung(iteration, "supernet", outcomes["supernet"]))
        return Ending("Completed", "four rounds")


@pytest.fixture
def relaxed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "netAdapt", Relaxed)
    for kind in (TWIN, ALPHAS):
        monkeypatch.setitem(KINDS, kind.name, kind)


_SEEN = ("twin", "aggregate")


def test_a_kind_with_two_outputs_is_averaged_by_name_and_counted(relaxed: None) -> None:
    store, results = MemoryStore(), {}

    def told(event: Event) -> None:
        if isinstance(event, TaskDone) and event.result and event.task.kind in _SEEN:
            results[event.task.id] = {
                name: decode(store.get(f"work/blobs/{digest}"))
                for name, digest in event.result.outputs.items()
                if f"work/blobs/{digest}" in store.objects
            }

    view = run(search(), store, on_event=told)
    assert view.end is not None
    at = "0001/relaxed/supernet/01/"
    assert view.start is not None
    group = view.start.groups[1]
    shards = make_shards(search(), DIGITS, digest_of).clients
    assert len(group) == 6
    for name in ("weights", "alphas"):
        np.testing.assert_allclose(
            results[f"{at}aggregate/{name}"]["mean"],
            np.average(
                [results[at + client][name] for client in group],
                axis=0,
                weights=[shards[client].samples for client in group],
            ),
            rtol=1e-6,
        )
    added = [entry for entry in view.entries.values() if isinstance(entry, Added)]
    assert [set(entry.blobs) for entry in added] == [{"weights"}, *[{"weights", "alphas"}] * 2]
    assert added[1].blobs["alphas"] != added[2].blobs["alphas"]
    cost = view.ledger.search
    assert cost.client_rounds == 24
    blob, small = len(encode(np.ones(3 * 64, np.float32))), len(encode(np.ones(5, np.float32)))
    assert cost.bytes_up == 24 * (blob + small)
    status = status_of(view, search())
    assert status.display is not None
    assert (status.display.iteration, status.rounds) == ("2/2", 2 + 4)


@pytest.mark.parametrize("fixture", ["counting", "relaxed"])
def test_killed_at_each_entry_they_go_on_to_the_same_bytes(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(fixture)
    view = killed_at_each_entry(search())
    with pytest.raises(Corrupt, match="a rung is missing"):
        view.apply(Recorded(next(e for e in view.entries.values() if e.word == "rung"), 0.0))
