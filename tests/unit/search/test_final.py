"""Training after the search: which rungs, by whom, and which round counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fednas.errors import SearchFailed, TaskFailed
from fednas.federation import FINAL
from fednas.models import decode
from fednas.search import Closed, Event, Outcome, Recorded, Train, Tuned, View, status_of
from fednas.search._strategy import Tune
from fednas.spec import FinalTraining
from fednas.store import digest_of
from fednas.work import Task
from tests.memory_store import MemoryStore
from tests.unit.search.table import Row, scored, tuning
from tests.unit.search.toy import Killed, journal, network, run, search

CLIENTS = [f"client-{index}" for index in range(9)]


# --- the generator -------------------------------------------------------------------------------


def play(
    table: Mapping[tuple[int, int], Row],
    rungs: tuple[int, ...] = (1, 3),
    training: FinalTraining = FinalTraining(rounds=3, clients_per_round=4),  # noqa: B008 - frozen
) -> tuple[list[Train], dict[int, Tune]]:
    """Rung and round -> right answers of 100 (default 50); the search left 90 of 100."""
    left = {rung: scored(network(), f"rung {rung}", 90) for rung in rungs}
    going = tuning(left, {1: CLIENTS}, iteration=4, final_training=training)
    trains, tunes = [], {}
    answer: Any = None
    try:
        while True:
            step = going.send(answer)
            answer = None
            if isinstance(step, Tune):
                assert step.rung not in tunes
                tunes[step.rung] = step
                continue
            assert isinstance(step, Train)
            trains.append(step)
            answer = {}
            for name in step.entrants:
                correct = table.get((int(name[-2:]), step.id.number), 50)
                answer[name] = scored(network(), f"{name} {step.id.number}", correct)
    except StopIteration:
        return trains, tunes


def test_every_rung_trains_every_round_and_goes_on_from_its_last() -> None:
    trains, tunes = play({(1, 1): 80, (1, 2): 40})
    assert [step.id.key for step in trains] == [f"0004/final/{n:02}" for n in (1, 2, 3)]
    starts = [{k: one.model.weights for k, one in step.entrants.items()} for step in trains]
    assert starts == [
        {"rung-01": "rung 1", "rung-03": "rung 3"},
        {"rung-01": "rung-01 1", "rung-03": "rung-03 1"},
        {"rung-01": "rung-01 2", "rung-03": "rung-03 2"},
    ]
    assert [tune.id.key for tune in tunes.values()] == [
        "0004/final/rung-01/03",
        "0004/final/rung-03/03",
    ]


@pytest.mark.parametrize(
    ("schedule", "steps"), [("linear", [0.04, 0.03, 0.02, 0.01]), ("constant", [0.04] * 4)]
)
def test_the_step_size_falls_in_a_line_or_stays(schedule: Any, steps: list[float]) -> None:
    optimizer = {"sgd": {"learningRate": 0.04, "momentum": 0.5}}
    given = {"rounds": 4, "schedule": schedule, "optimizer": optimizer}
    trains, _ = play({}, training=FinalTraining.model_validate(given))
    found = [step.params(network()).sgd for step in trains]
    assert [sgd.learning_rate for sgd in found] == pytest.approx(steps)
    assert {sgd.momentum for sgd in found} == {0.5}


def test_all_rungs_of_a_round_train_on_the_same_clients_and_others_in_the_next() -> None:
    trains, _ = play({})
    cohorts = []
    for step in trains:
        found = {attempt: {e.cohort(attempt) for e in step.entrants.values()} for attempt in (0, 1)}
        assert all(len(one) == 1 for one in found.values())
        assert found[0] != found[1]  # no quorum: another draw
        cohorts += found[0]
    assert all(len(set(cohort.clients)) == 4 for cohort in cohorts)
    assert len(set(cohorts)) == 3


def test_the_best_trained_round_counts_though_the_search_left_something_better() -> None:
    _, tunes = play({(1, 1): 60, (1, 2): 70, (1, 3): 65, (3, 2): 49})
    found = {r: (t.best, t.outcome.model.weights, t.outcome.score) for r, t in tunes.items()}
    assert found == {
        1: (2, "rung-01 2", 0.7),
        3: (1, "rung-03 1", 0.5),  # the earlier of equals
    }


def test_the_loss_decides_between_rounds_and_not_the_accuracy() -> None:
    left = {1: scored(network(), "rung 1", 90)}
    training = FinalTraining(rounds=2, clients_per_round=1)
    going = tuning(left, {1: CLIENTS}, iteration=2, final_training=training)
    next(going)
    one = scored(network(), "first", 60)
    going.send({"rung-01": Outcome(**vars(one) | {"loss": 0.3})})
    step = going.send({"rung-01": scored(network(), "second", 65)})  # of loss .35
    assert isinstance(step, Tune)
    assert (step.best, step.outcome.model.weights) == (1, "first")


def test_a_rung_that_fails_keeps_what_it_had_and_trains_no_more() -> None:
    trains, tunes = play({(1, 1): 80, (1, 2): None})
    assert [sorted(step.entrants) for step in trains] == [
        ["rung-01", "rung-03"],
        ["rung-01", "rung-03"],
        ["rung-03"],
    ]
    assert (tunes[1].best, tunes[1].outcome.score) == (1, 0.8)


def test_a_rung_that_fails_at_once_stays_as_the_search_left_it() -> None:
    trains, tunes = play({(1, 1): None, (3, 1): None})
    assert (len(trains), tunes) == (1, {})
    _, tunes = play({(1, 1): None})
    assert tunes.keys() == {3}


# --- in a search ---------------------------------------------------------------------------------

HUB = "deviceClasses.hub.budget.macs.share=1"
FEW = ("finalTraining.rounds=3", "finalTraining.clientsPerRound=5")


def tuned(view: View) -> dict[int, Tuned]:
    return {e.rung: e for e in view.entries.values() if isinstance(e, Tuned)}


def test_only_the_selected_rungs_are_trained_or_all() -> None:
    spec = search(HUB, *FEW)
    view = run(spec, MemoryStore())
    chosen = {rung.rung for rung in view.selected(spec, view.searched).values() if rung}
    assert tuned(view).keys() == chosen
    assert len(chosen) < len(view.ladder)
    whole = run(search(HUB, *FEW, "finalTraining.rungs=all"), MemoryStore())
    assert tuned(whole).keys() == {rung.rung for rung in whole.ladder}


def test_without_it_nothing_is_trained_after_the_search() -> None:
    view = run(search(), MemoryStore())
    assert tuned(view) == {}
    assert view.ladder == view.searched
    assert view.ledger.final.macs == 0
    assert view.start is not None
    assert FINAL not in view.start.phases


def test_trained_rungs_lie_beside_those_that_the_search_left_and_are_tested() -> None:
    store = MemoryStore()
    view = run(search(HUB, *FEW), store)
    assert tuned(view)
    for rung, entry in tuned(view).items():
        after, before = view.ladder[rung], view.searched[rung]
        for one in (after, before):
            blob = store.get(f"ladder/{one.file}")
            assert digest_of(blob) == one.sha256
            assert decode(blob).size == one.params
        scores = {
            number: view.entries[f"{len(view.ladder):04}/final/rung-{rung:02}/{number:02}-scored"]
            for number in (1, 2, 3)
        }
        losses = {number: one.sums["loss"] for number, one in scores.items()}  # type: ignore[attr-defined]
        assert entry.best == min(losses, key=lambda number: (losses[number], number))
        assert entry.validation == scores[entry.best].sums  # type: ignore[attr-defined]
        assert entry.sums != entry.validation  # the toy says other things of the test rows
    assert [key for key in store.objects if key.startswith("work/")] == []


def test_what_it_costs_is_in_the_ledger_apart_and_told_as_paid() -> None:
    spec = search(HUB, *FEW)
    store, plain = MemoryStore(), MemoryStore()
    view, without = run(spec, store), run(search(HUB), plain)
    final = [e for e in view.entries.values() if isinstance(e, Closed) and e.id.phase == FINAL]
    assert len(final) == 3 * len(tuned(view))
    assert all(entry.totals.clients == 5 for entry in final)
    assert view.ledger.final.client_rounds == 15 * len(tuned(view))
    assert view.ledger.final.macs == sum(entry.totals.macs for entry in final)
    assert view.ledger.search == without.ledger.search
    assert view.ledger.factors == without.ledger.factors
    cost = status_of(view, spec).cost
    assert cost is not None
    assert cost.client_macs == (view.ledger.search.macs + view.ledger.final.macs) // 12
    assert view.iteration == without.iteration


def test_the_phase_is_told_while_it_trains() -> None:
    spec, seen = search(HUB, *FEW), []
    view = View()

    def told(event: Event) -> None:
        if isinstance(event, Recorded):
            view.apply(event)
            phase = status_of(view, spec).phase
            if not seen or seen[-1] != phase:
                seen.append(phase)

    run(spec, MemoryStore(), on_event=told)
    assert seen == ["Initializing", "Searching", "FinalTraining", "Complete"]


def test_a_budget_that_was_not_reached_is_no_reason_not_to_train() -> None:
    view = run(search(HUB, *FEW, maxIterations=1), MemoryStore())
    assert view.end is not None
    assert view.end.reason == "BudgetNotReachable"
    assert tuned(view)


def test_a_failed_search_trains_nothing() -> None:
    def failing(task: Task) -> None:
        if task.kind == "train" and "/pre/" in task.id:
            raise TaskFailed("out of battery")

    asked: list[str] = []
    with pytest.raises(SearchFailed):
        run(
            search(HUB, *FEW),
            MemoryStore(),
            failing=failing,
            before=lambda task: asked.append(task.id),
        )
    assert not [id for id in asked if "/final/" in id]


def test_where_no_final_round_has_a_quorum_the_search_still_has_its_ladder() -> None:
    def failing(task: Task) -> None:
        if task.kind == "train" and "/final/" in task.id:
            raise TaskFailed("out of battery")

    view = run(search(HUB, *FEW), MemoryStore(), failing=failing)
    assert view.end is not None
    assert not view.end.failed
    assert (tuned(view), view.ladder) == ({}, view.searched)


def kill_after(number: int) -> Callable[[Event], None]:
    """Dies when the n-th rung has been trained."""
    left = number

    def told(event: Event) -> None:
        nonlocal left
        if isinstance(event, Recorded) and isinstance(event.entry, Tuned):
            left -= 1
            if left < 0:
                raise Killed

    return told


def test_what_is_trained_was_selected_before_also_when_it_is_resumed() -> None:
    spec = search(HUB, *FEW, "seed=7")
    undisturbed, store, seen = MemoryStore(), MemoryStore(), View()
    view = run(spec, undisturbed)
    chosen = {rung.rung for rung in view.selected(spec, view.searched).values() if rung}
    assert tuned(view).keys() == chosen
    assert len(chosen) == 2
    kill = kill_after(1)

    def told(event: Event) -> None:
        if isinstance(event, Recorded):
            seen.apply(event)
        kill(event)

    with pytest.raises(Killed):
        run(spec, store, on_event=told)
    # What was trained would now select others.
    now = {rung.rung for rung in seen.selected(spec).values() if rung}
    assert len(tuned(seen)) == 2
    assert now != chosen
    run(spec, store)
    assert journal(store) == journal(undisturbed)
