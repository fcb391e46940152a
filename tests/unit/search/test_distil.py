"""Teaching the networks in use what the start answers: whom, before what, at no client's cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fednas.errors import SearchFailed, TrainingDiverged
from fednas.federation import FINAL
from fednas.search import Closed, Distil, Scored, Train, Tune, Tuned, View
from fednas.spec import Distillation, FinalTraining
from fednas.store import digest_of
from fednas.work import Task
from tests.memory_store import MemoryStore
from tests.unit.search.table import scored, tuning
from tests.unit.search.test_loop import ladder
from tests.unit.search.toy import KillAt, Killed, journal, network, run, search

NETWORKS = {0: network(), 1: network(12, 16, 12, 16), 3: network(8, 8, 8, 8)}
TRAINING = FinalTraining(rounds=2, clients_per_round=3)
TAUGHT = ("distillation.steps=3", "deviceClasses.hub.budget.macs.share=0.9")

ALL = ("finalTraining.rounds=2", "finalTraining.rungs=all")


def play(rungs: Sequence[int] = (0, 1, 3), **settings: FinalTraining | Distillation) -> list[Any]:
    """Steps up to what no table answers; the taught have 60 of 100 right, the trained 50."""
    left = {rung: scored(NETWORKS[rung], f"rung {rung}", 90) for rung in rungs}
    users = {rung: [f"class-{rung}-0", f"class-{rung}-1"] for rung in rungs}
    going = tuning(left, users, iteration=4, **settings)
    steps: list[Any] = []
    answer: Any = None
    try:
        while True:
            step = going.send(answer)
            steps.append(step)
            match step:
                case Distil():
                    answer = {
                        name: scored(model.architecture, f"{name} taught", 60)
                        for name, model in step.models.items()
                    }
                case Train():
                    answer = {
                        name: scored(entrant.model.architecture, f"{name} trained", 50)
                        for name, entrant in step.entrants.items()
                    }
                case Tune():
                    answer = None
                case _:
                    return steps
    except StopIteration:
        return steps


def lessons(steps: list[Any]) -> list[tuple[str, dict[str, str]]]:
    """The weights that teach, and name -> those that a pupil begins with."""
    return [
        (step.teacher.weights, {name: model.weights for name, model in step.models.items()})
        for step in steps
        if isinstance(step, Distil)
    ]


def tunes(steps: list[Any]) -> list[tuple[int, int, str]]:
    """Rung, its best round, and the weights that it ends with."""
    return [
        (step.rung, step.best, step.outcome.model.weights)
        for step in steps
        if isinstance(step, Tune)
    ]


def test_the_start_teaches_all_networks_in_use_but_itself() -> None:
    steps = play(distillation=Distillation(steps=7))
    (lesson,) = lessons(steps)
    assert lesson[1] == {"rung-01": "rung 1", "rung-03": "rung 3"}
    assert steps[0].how.steps == 7
    assert tunes(steps) == [(1, 0, "rung-01 taught"), (3, 0, "rung-03 taught")]


def test_what_was_taught_is_trained_and_the_largest_then_teaches_the_others() -> None:
    steps = play((1, 3), distillation=Distillation(), final_training=TRAINING)
    first = next(step for step in steps if isinstance(step, Train))
    assert {name: entrant.model.weights for name, entrant in first.entrants.items()} == {
        "rung-01": "rung-01 taught",
        "rung-03": "rung-03 taught",
    }
    assert [pupils for _, pupils in lessons(steps)] == [
        {"rung-01": "rung 1", "rung-03": "rung 3"},
        {"rung-03": "rung-03 trained"},
    ]
    assert lessons(steps)[1][0] == "rung-01 trained"
    assert tunes(steps) == [(1, 1, "rung-01 trained"), (3, 1, "rung-03 taught")]


def test_a_start_that_is_used_is_trained_and_then_teaches() -> None:
    steps = play(distillation=Distillation(), final_training=TRAINING)
    assert lessons(steps)[1] == (
        "rung-00 trained",
        {"rung-01": "rung-01 trained", "rung-03": "rung-03 trained"},
    )
    assert [best for _, best, _ in tunes(steps)] == [1, 1, 1]


def test_where_no_class_gets_a_network_nothing_is_done() -> None:
    assert not play((), distillation=Distillation(), final_training=TRAINING)


def test_where_the_largest_alone_is_trained_the_others_learn_from_it_alone() -> None:
    largest = TRAINING.model_copy(update={"rungs": "largest"})
    steps = play((1, 3), distillation=Distillation(), final_training=largest)
    assert {name for step in steps if isinstance(step, Train) for name in step.entrants} == {
        "rung-01"
    }
    assert lessons(steps)[1] == ("rung-01 trained", {"rung-03": "rung 3"})
    assert tunes(steps) == [(1, 1, "rung-01 trained"), (3, 0, "rung-03 taught")]
    alone = play((1, 3), final_training=largest)
    assert tunes(alone) == [(1, 1, "rung-01 trained")]


def test_of_networks_that_train_as_one_the_largest_is_taught_before() -> None:
    nested = TRAINING.model_copy(update={"nested": True})
    both = {"distillation": Distillation(), "final_training": nested}
    ((_, pupils), *_) = lessons(play((1, 3), **both))
    assert pupils == {"rung-01": "rung 1"}
    assert not lessons(play((0, 1, 3), **both)), "the largest is the start"


# --- whole searches ------------------------------------------------------------------------------


def tuned(view: View) -> list[Tuned]:
    return [entry for entry in view.entries.values() if isinstance(entry, Tuned)]


def test_it_takes_its_place_on_the_ladder_and_costs_no_client_anything() -> None:
    spec, store = search(*TAUGHT), MemoryStore()
    view, plain = run(spec, store), run(search(TAUGHT[1]), MemoryStore())
    chosen = {rung.rung for rung in view.selected(spec, view.searched).values() if rung} - {0}
    assert chosen
    assert {entry.rung for entry in tuned(view)} == chosen
    for rung in chosen:
        one = view.ladder[rung]
        assert one.trained
        assert one.sha256 != view.searched[rung].sha256 == plain.ladder[rung].sha256
        assert digest_of(store.get(f"ladder/{one.file}")) == one.sha256
    assert view.ledger.to_dict() == plain.ledger.to_dict()
    assert not [e for e in view.entries.values() if isinstance(e, Closed) and e.id.phase == FINAL]
    assert [key for key in store.objects if key.startswith("work/")] == []


def test_a_class_keeps_its_network_though_another_has_learnt_the_validation_rows() -> None:
    spec = search(*TAUGHT)
    view = run(spec, MemoryStore())
    before = view.selected(spec, view.searched)
    for name, rung in view.selected(spec).items():
        assert rung == (before[name] and view.ladder[before[name].rung])
        assert rung is None or rung.trained
    hub = view.selected(spec)["hub"]
    assert hub is not None
    other = 1 if hub.rung > 1 else 2
    view.ladder[other] = replace(view.ladder[other], validation_loss=0.0, trained=True)
    assert view.selected(spec)["hub"] == hub
    assert view.selected(search(TAUGHT[1]))["hub"] == view.ladder[other]


def test_final_training_without_a_quorum_leaves_what_was_taught() -> None:
    def fail(task: Task) -> None:
        if f"/{FINAL}/" in task.id and task.kind == "train":
            raise TrainingDiverged("no")

    view = run(search(*TAUGHT, *ALL), MemoryStore(), failing=fail)
    assert tuned(view)
    assert {entry.best for entry in tuned(view)} == {0}


@pytest.mark.parametrize("final", [(), ALL])
def test_killed_at_every_step_it_goes_on_to_the_same_bytes(final: tuple[str, ...]) -> None:
    spec, undisturbed = search(*TAUGHT, *final), MemoryStore()
    whole = run(spec, undisturbed)
    store = MemoryStore()
    after = sum(
        isinstance(entry, Scored | Closed | Tuned) and entry.id.phase == FINAL
        for entry in whole.entries.values()
    )
    for number in range(len(whole.entries) - after - 3, len(whole.entries) + 5):
        try:
            run(spec, store, on_event=KillAt(number))
        except Killed:
            continue
    run(spec, store)
    assert journal(store) == journal(undisturbed)
    assert ladder(store) == ladder(undisturbed)


def test_what_diverges_after_the_final_training_leaves_what_was_trained() -> None:
    def diverge(task: Task) -> None:
        if task.kind == "distil" and "/03/" in task.id:
            raise TrainingDiverged("spec.distillation diverged")

    view = run(search(*TAUGHT, *ALL), MemoryStore(), failing=diverge)
    first, *smaller = tuned(view)
    assert (first.rung, first.best > 0, len(smaller)) == (0, True, len(view.ladder) - 1)
    for entry in smaller:
        trained = view.get(Scored, replace(entry.id, number=entry.best))
        assert trained is not None
        assert entry.best
        assert entry.blobs == trained.blobs


def test_what_diverges_ends_the_search_with_its_ladder() -> None:
    def diverge(task: Task) -> None:
        if task.kind == "distil":
            raise TrainingDiverged("spec.distillation diverged")

    store = MemoryStore()
    with pytest.raises(SearchFailed, match=r"spec\.distillation diverged") as error:
        run(search(*TAUGHT), store, failing=diverge)
    assert error.value.reason == "TrainingDiverged"
    assert [key for key in store.objects if key.startswith("ladder/rung-02")]
