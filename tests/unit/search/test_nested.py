"""Training all networks in use as one: who trains what, what counts, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fednas.errors import SearchFailed
from fednas.federation import FINAL
from fednas.models import Architecture
from fednas.search import Closed, Compute, Evaluate, Train, Tuned, View
from fednas.search._strategy import Tune
from fednas.spec import FinalTraining, clients
from fednas.store import digest_of
from fednas.work import MERGE, TaskResult
from tests.memory_store import MemoryStore
from tests.unit.search.table import scored, tuning
from tests.unit.search.test_loop import ladder
from tests.unit.search.toy import KillAt, Killed, journal, network, run, search

RUNGS = {1: network(12, 16, 12, 16), 3: network(8, 8, 8, 8), 4: network(4, 8, 4, 8)}
CLIENTS = {1: ["hub-0", "hub-1"], 3: ["pad-0"], 4: [f"phone-{i}" for i in range(6)]}

# --- the generator -------------------------------------------------------------------------------


def play(
    told: Callable[[str, int], int | None] = lambda name, number: 50,
    rungs: dict[int, Architecture] = RUNGS,
    **settings: Any,
) -> list[Any]:
    """All steps; ``told`` gives the right answers of 100 of a merged network, by its rung.

    None for a number fails whatever its clients train in that round.
    """
    training = FinalTraining(**{"rounds": 3, "clients_per_round": 9, "nested": True} | settings)
    left = {rung: scored(one, f"rung {rung}", 90) for rung, one in rungs.items()}
    going = tuning(left, CLIENTS, iteration=4, final_training=training)
    steps: list[Any] = []
    answer: Any = None
    try:
        while True:
            step = going.send(answer)
            steps.append(step)
            answer = None
            if isinstance(step, Compute):
                names = ["weights", *getattr(step.params, "nested", ())]
                answer = TaskResult(outputs={name: f"{step.id.key} {name}" for name in names})
            elif isinstance(step, Evaluate):
                right = told(step.id.subject.removesuffix("-merged"), step.id.number)
                answer = scored(step.model.architecture, step.model.weights, right or 50)
            elif isinstance(step, Train):
                answer = {}
                for name, entrant in step.entrants.items():
                    right = told(name, step.id.number)
                    one = scored(entrant.model.architecture, f"{name} {step.id.number}", right)
                    answer[name] = replace(one, trained=10 * len(entrant.cohort(0).clients))
    except StopIteration:
        return steps


def of(steps: list[Any], kind: type[Any]) -> list[Any]:
    return [step for step in steps if isinstance(step, kind)]


def test_clients_train_what_their_class_gets_and_the_narrower_networks_within() -> None:
    for step in of(play(), Train):
        assert step.entrants.keys() == {"rung-01", "rung-03", "rung-04"}
        for rung, one in RUNGS.items():
            entrant = step.entrants[f"rung-{rung:02}"]
            assert entrant.model.architecture == one
            assert list(entrant.cohort(0).clients) == CLIENTS[rung]
            inside = step.params(one).within
            assert inside == tuple(RUNGS[number] for number in RUNGS if number > rung)


def test_a_round_draws_from_all_clients_and_another_where_there_was_no_quorum() -> None:
    steps = of(play(clients_per_round=4), Train)
    cohorts = [{n: e.cohort(0).clients for n, e in step.entrants.items()} for step in steps]
    assert all(sum(map(len, cohort.values())) == 4 for cohort in cohorts)
    assert len({str(cohort) for cohort in cohorts}) == 3
    phones = steps[0].entrants["rung-04"]
    drawn = {phones.cohort(attempt).clients for attempt in range(6)}
    assert len(drawn) > 1
    assert {len(some) for some in drawn} == {len(phones.cohort(0).clients)}
    assert all(set(some) <= set(CLIENTS[4]) for some in drawn)


def test_what_was_trained_is_merged_by_samples_and_goes_on_from_there() -> None:
    steps = play()
    arranged, first, *merges = of(steps, Compute)
    assert arranged.inputs == {"weights": "rung 1", "space": "space"}
    assert first.inputs["weights"] == "0004/final/arranged/00 weights"
    assert first.params.weights == {}
    for number, merge in enumerate(merges, 1):
        assert merge.kind is MERGE
        assert merge.params.weights == {"rung-01": 20, "rung-03": 10, "rung-04": 60}
        assert merge.inputs == {
            "space": "space",
            "weights": f"0004/final/whole/{number - 1:02} weights",
            "rung-01": f"rung-01 {number}",
            "rung-03": f"rung-03 {number}",
            "rung-04": f"rung-04 {number}",
        }
    second = of(steps, Train)[1]
    assert second.entrants["rung-03"].model.weights == "0004/final/whole/01 rung-03"


def test_the_best_merged_round_of_each_counts() -> None:
    right = {("rung-01", 2): 70, ("rung-03", 1): 60, ("rung-04", 3): 80}
    tunes = of(play(lambda name, number: right.get((name, number), 40)), Tune)
    assert {(tune.rung, tune.best) for tune in tunes} == {(1, 2), (3, 1), (4, 3)}
    assert all(tune.outcome.model.weights.startswith("0004/final/whole") for tune in tunes)
    assert [tune.outcome.model.architecture for tune in tunes] == [*RUNGS.values()]


def test_a_class_without_a_quorum_is_left_out_of_the_merge_and_is_asked_again() -> None:
    steps = play(lambda name, number: None if (name, number) == ("rung-01", 2) else 50)
    assert [set(merge.params.weights) for merge in of(steps, Compute)[2:]] == [
        {"rung-01", "rung-03", "rung-04"},
        {"rung-03", "rung-04"},
        {"rung-01", "rung-03", "rung-04"},
    ]
    assert {tune.rung for tune in of(steps, Tune)} == set(RUNGS)


def test_where_nobody_trains_the_rungs_stay_as_the_search_left_them() -> None:
    steps = play(lambda name, number: None)
    assert (len(of(steps, Train)), of(steps, Evaluate), of(steps, Tune)) == (3, [], [])


def test_rungs_that_are_not_nested_are_refused() -> None:
    wider = {1: network(8, 8, 8, 8), 3: network(4, 9, 4, 4)}
    with pytest.raises(SearchFailed, match=r"rung 3 is wider than rung 1 .*nested to false"):
        play(rungs=wider)


# --- in a search ---------------------------------------------------------------------------------

NESTED = (
    "deviceClasses.hub.budget.macs.share=1",
    "finalTraining.rounds=3",
    "finalTraining.clientsPerRound=9",
    "finalTraining.nested=true",
    "seed=1",  # its classes get two networks
)


def final(view: View) -> list[Closed]:
    return [e for e in view.entries.values() if isinstance(e, Closed) and e.id.phase == FINAL]


def test_trained_rungs_take_the_places_of_those_that_the_search_left() -> None:
    spec, store = search(*NESTED), MemoryStore()
    view = run(spec, store)
    chosen = {rung.rung for rung in view.selected(spec, view.searched).values() if rung}
    tuned = {e.rung for e in view.entries.values() if isinstance(e, Tuned)}
    assert tuned == chosen
    assert len(chosen) == 2
    for rung in chosen:
        assert digest_of(store.get(f"ladder/{view.ladder[rung].file}")) == view.ladder[rung].sha256
    assert [key for key in store.objects if key.startswith("work/")] == []


def test_the_ledger_by_hand() -> None:
    spec = search(*NESTED)
    view = run(spec, MemoryStore())
    chosen = view.selected(spec, view.searched)
    phone, hub = chosen["phone"], chosen["hub"]
    assert phone is not None
    assert hub is not None
    per_sample = {
        f"rung-{hub.rung:02}": hub.costs["macs"] + phone.costs["macs"],
        f"rung-{phone.rung:02}": phone.costs["macs"],
    }
    closed = final(view)
    assert sum(entry.totals.clients for entry in closed) == 3 * 9 == view.ledger.final.client_rounds
    for entry in closed:
        assert entry.totals.macs == 3 * per_sample[entry.id.subject] * entry.totals.trained
    assert view.ledger.final.macs == sum(entry.totals.macs for entry in closed)
    hubs = {client.name for client in clients(spec) if client.device_class == "hub"}
    assert (
        3 * 9 - 3 * 8
        <= sum(
            entry.totals.clients for entry in closed if entry.id.subject == f"rung-{hub.rung:02}"
        )
        <= 3 * len(hubs)
    )


@pytest.mark.parametrize("part", [0, 1, 2, 3, 4])
def test_killed_at_every_fifth_step_it_goes_on_to_the_same_bytes(part: int) -> None:
    undisturbed = MemoryStore()
    whole = run(search(*NESTED), undisturbed)
    store = MemoryStore()
    begin = sum(e.key < f"{len(whole.ladder):04}" for e in whole.entries.values())
    for number in range(begin - 10 + part, len(whole.entries) + 5, 5):
        try:
            run(search(*NESTED), store, on_event=KillAt(number))
        except Killed:
            continue
    run(search(*NESTED), store)
    assert journal(store) == journal(undisturbed)
    assert ladder(store) == ladder(undisturbed)
