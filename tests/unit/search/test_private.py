"""Searches that promise their clients privacy: what is counted, what is hidden, when they end."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from fednas.errors import BadInput, SearchFailed
from fednas.federation import FINAL, INITIAL, RoundId, Updates
from fednas.models import decode
from fednas.search import (
    Closed,
    Ended,
    Event,
    Recorded,
    Releasing,
    Scored,
    View,
    epsilon_of,
    status_of,
)
from fednas.search import _private as private
from fednas.search._spending import spending
from fednas.spec import ClientLevel, FederatedSearch
from fednas.tracking._points import Points
from fednas.tracking._tables import privacy_tags
from tests.memory_store import MemoryStore
from tests.unit.search.toy import KillAt, Killed, journal, run, search

FIRST = RoundId(0, INITIAL, "", 1)


def promise(**changes: float) -> ClientLevel:
    settings = {"clip_norm": 1.0, "noise_multiplier": 20.0, "delta": 1e-5, "epsilon": 50.0}
    return ClientLevel(**(settings | changes))


def promising(
    *overrides: str, epsilon: float = 50.0, noise: float = 20.0, **changes: Any
) -> FederatedSearch:
    """``changes`` are the strategy's."""
    told = {"clipNorm": 1.0, "noiseMultiplier": noise, "delta": 1e-5, "epsilon": epsilon}
    private = [f"privacy.clientLevel.{name}={value}" for name, value in told.items()]
    return search(*overrides, *private, **changes)


def releasing(view: View) -> list[Releasing]:
    return [entry for entry in view.entries.values() if isinstance(entry, Releasing)]


def by_hand(view: View) -> Counter[str]:
    """In how many aggregates each client may be, read off the rounds' own records."""
    assert view.start is not None
    names, counted = sorted(view.start.clients), Counter[str]()
    for entry in view.entries.values():
        if isinstance(entry, Closed) and entry.updates is not None:
            updates = Updates.decode(STORES[id(view)].get(f"journal/updates/{entry.updates}"))
            counted.update(names[index] for index in updates.clients)
            counted.update(entry.missing)
    return counted


STORES: dict[int, MemoryStore] = {}


def ran(spec: FederatedSearch, **how: Any) -> View:
    store = MemoryStore()
    view = run(spec, store, **how)
    STORES[id(view)] = store
    return view


@pytest.mark.parametrize(
    ("releases", "noise_multiplier", "delta"),
    [(1, 1.0, 1e-5), (10, 4.0, 1e-5), (40, 8.0, 1e-6), (200, 30.0, 1e-3), (1000, 25.0, 1e-8)],
)
def test_epsilon_is_what_the_library_composes_release_by_release(
    releases: int, noise_multiplier: float, delta: float
) -> None:
    found = epsilon_of(releases, promise(noise_multiplier=noise_multiplier, delta=delta))
    event = GaussianDpEvent(noise_multiplier)
    discretised = PLDAccountant(value_discretization_interval=1e-3).compose(event, releases)
    assert found == pytest.approx(discretised.get_epsilon(delta), rel=0.01)
    assert found < RdpAccountant().compose(event, releases).get_epsilon(delta)


def test_no_release_spends_nothing_and_each_spends_more() -> None:
    spent = [epsilon_of(releases, promise()) for releases in range(6)]
    assert spent[0] == 0
    assert spent == sorted(set(spent))


def test_every_aggregate_counts_for_every_client_that_was_asked() -> None:
    view = ran(promising("finalTraining.rounds=2", "finalTraining.clientsPerRound=5"))
    assert {entry.id.phase for entry in releasing(view)} == {INITIAL, "pre", "post", FINAL}
    assert view.start is not None
    names = sorted(view.start.clients)
    counted = by_hand(view)
    assert {names[index]: times for index, times in view.releases.items()} == counted
    most = max(counted.values())
    assert view.privacy == {
        "epsilon": epsilon_of(most, promise()),
        "delta": 1e-5,
        "budget": 50.0,
        "releases": most,
        "lost": 0,
    }


def test_a_client_that_was_asked_and_gave_nothing_counts_too() -> None:
    from fednas.errors import TaskFailed

    def failing(task: Any) -> None:
        if task.id.endswith("0000/initial/01/" + absent):
            raise TaskFailed("away")

    whole = ran(promising())
    absent = sorted(whole.start.clients)[releasing(whole)[0].indices[0]] if whole.start else ""
    view = ran(promising(), failing=failing)
    closed = view.get(Closed, FIRST)
    assert closed is not None
    assert closed.missing == (absent,)
    assert releasing(view)[0].indices == releasing(whole)[0].indices


def weights_after_the_first_round(
    monkeypatch: pytest.MonkeyPatch, noise: Callable[[int], np.ndarray[Any, Any]] | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Of the network before it and after it."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    if noise is not None:
        monkeypatch.setattr(
            private,
            "noised_mean",
            lambda *args, **kw: noised_mean(*args, **kw, draw=noise),
        )
    store = MemoryStore()

    def told(event: Event) -> None:
        if isinstance(event, Recorded) and event.entry.key == Scored.key_of(FIRST):
            raise Killed

    def before(task: Any) -> None:
        if task.kind == "trainClipped":
            found["before"] = decode(store.get(f"work/blobs/{task.inputs['weights']}"))
        if task.id == f"{FIRST.key}/evaluate":
            found["after"] = decode(store.get(f"work/blobs/{task.inputs['weights']}"))

    with pytest.raises(Killed):
        run(promising(noise=100.0), store, on_event=told, before=before)
    return found["before"], found["after"]


noised_mean = private.noised_mean


def test_without_its_noise_a_round_moves_no_further_than_the_clip_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = weights_after_the_first_round(monkeypatch, np.zeros)
    assert 0 < np.linalg.norm(after - before) <= 1.0 + 1e-5


def test_the_noise_is_as_large_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = weights_after_the_first_round(monkeypatch, None)
    assert np.std(after - before) == pytest.approx(100.0 / 3, rel=0.3)


def test_no_two_runs_draw_the_same_noise_and_all_else_is_the_same() -> None:
    one, other = ran(promising()), ran(promising())
    first, second = one.get(Scored, FIRST), other.get(Scored, FIRST)
    assert first is not None
    assert second is not None
    assert first.blobs != second.blobs
    assert one.get(Closed, FIRST) == other.get(Closed, FIRST)


def test_no_loss_of_the_clients_is_on_record() -> None:
    view = ran(promising())
    closed = [entry for entry in view.entries.values() if isinstance(entry, Closed)]
    assert closed
    assert all(entry.metrics == {} for entry in closed)


def test_an_aggregate_that_may_have_been_lost_counts_and_is_made_anew() -> None:
    store = MemoryStore()

    def told(event: Event) -> None:
        if isinstance(event, Recorded) and isinstance(event.entry, Releasing):
            raise Killed

    lives = 3
    for _ in range(lives):
        with pytest.raises(Killed):
            run(promising(), store, on_event=only_new(store, told))
    view = run(promising(), store)
    attempts = [entry.attempt for entry in releasing(view) if entry.id == FIRST]
    assert sorted(attempts) == list(range(lives + 1))
    assert view.privacy is not None
    assert view.privacy["lost"] == lives
    STORES[id(view)] = store
    counted = by_hand(view)
    assert view.start is not None
    for index, name in enumerate(sorted(view.start.clients)):
        lost = lives if index in releasing(view)[0].indices else 0
        assert view.releases[index] == counted[name] + lost


def only_new(store: MemoryStore, told: Callable[[Event], None]) -> Callable[[Event], None]:
    """Tell of what this life wrote alone."""
    old = set(journal(store))

    def filtered(event: Event) -> None:
        if isinstance(event, Recorded) and f"journal/{event.entry.key}.json" not in old:
            told(event)

    return filtered


@pytest.mark.parametrize("life", [2, 5, 9, 20])
def test_killed_and_gone_on_with_it_keeps_what_it_had_and_never_spends_less(life: int) -> None:
    spec, store, lives = promising(), MemoryStore(), 0
    spent, kept = 0.0, dict[str, bytes]()
    while True:
        lives += 1
        assert lives < 200
        try:
            view = run(spec, store, on_event=only_new(store, KillAt(life)))
        except Killed:
            now = journal(store)
            assert kept.items() <= now.items()
            kept = dict(now)
            found = max(
                (json.loads(data)["epsilon"] for key, data in now.items() if "releasing" in key),
                default=0.0,
            )
            assert found >= spent
            spent = found
            continue
        break
    assert view.epsilon is not None
    assert view.epsilon >= spent > 0
    again = run(spec, store)
    assert [rung.sha256 for rung in again.ladder] == [rung.sha256 for rung in view.ladder]
    del store.objects["journal/end.json"]
    replayed = run(spec, store, before=lambda task: only_traces(task.id))
    assert replayed.ladder == view.ladder
    assert replayed.epsilon == view.epsilon


def only_traces(task: str) -> None:
    assert task == "0000/trace"


def test_the_search_ends_before_its_budget_is_exceeded_and_keeps_its_ladder() -> None:
    # One group: every candidate of an iteration, four at most, asks every client.
    allowed = 10
    budget = epsilon_of(allowed, promise())
    view = ran(promising(clientGroups=1, epsilon=budget))
    assert view.end is not None
    assert (view.end.reason, view.end.failed) == ("PrivacyBudgetSpent", False)
    wanted = re.search(r"in (\d+) releases", view.end.message)
    assert wanted is not None
    assert allowed < int(wanted[1]) <= max(view.releases.values()) + 4
    assert view.epsilon is not None
    assert view.epsilon <= budget
    assert [rung.rung for rung in view.ladder] == [0, 1]


def test_a_budget_that_ends_within_the_final_training_keeps_its_best_round() -> None:
    untrained = {"rounds": {"constant": {"pre": 0, "post": 0}}}
    final = ("finalTraining.clientsPerRound=12", "finalTraining.rungs=all")
    before = ran(promising(**untrained)).privacy
    assert before is not None
    budget = epsilon_of(before["releases"] + 8, promise())
    view = ran(promising(*final, "finalTraining.rounds=9", epsilon=budget, **untrained))
    assert view.end is not None
    assert (view.end.reason, view.end.failed) == ("PrivacyBudgetSpent", False)
    assert view.epsilon is not None
    assert view.epsilon <= budget
    rounds = {entry.id.number for entry in releasing(view) if entry.id.phase == FINAL}
    assert 0 < len(rounds) == 8 // len(view.ladder)
    assert all(rung.trained for rung in view.ladder)


def test_a_budget_that_does_not_last_for_the_start_leaves_no_ladder() -> None:
    budget = epsilon_of(1, promise()) + 1e-9
    spec = promising("model.initial.training.clientsPerRound=12", epsilon=budget)
    with pytest.raises(SearchFailed, match="of a budget of") as error:
        run(spec, MemoryStore())
    assert error.value.reason == "PrivacyBudgetSpent"


def test_a_budget_that_one_round_exceeds_is_refused_before_anything_is_written() -> None:
    store = MemoryStore()
    with pytest.raises(BadInput, match=r"clientLevel.epsilon: got 0.001; must be at least 0\.\d"):
        run(promising(epsilon=0.001), store)
    assert not store.objects


def test_nothing_of_the_noise_is_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray[Any, Any]] = []

    def told(size: int) -> np.ndarray[Any, Any]:
        drawn.append(np.random.default_rng(len(drawn)).standard_normal(size))
        return drawn[-1]

    monkeypatch.setattr(
        private, "noised_mean", lambda *args, **kw: noised_mean(*args, **kw, draw=told)
    )
    store = MemoryStore()
    view = run(promising(), store)
    STORES[id(view)] = store
    assert drawn
    kept = b"".join(store.objects.values())
    for noise in drawn:
        for form in (np.float64, np.float32):
            assert noise.astype(form)[:4].tobytes() not in kept
        assert repr(float(noise[0])).encode() not in kept
    for entry in releasing(view):
        assert set(entry.value()) == {"clients", "releases", "epsilon", "token"}
        assert len(entry.token) == 16


def test_the_status_tells_what_was_spent() -> None:
    spec = promising()
    view = ran(spec)
    status = status_of(view, spec).privacy
    assert status is not None
    assert float(status.epsilon) == pytest.approx(view.epsilon, rel=1e-3)
    assert (status.delta, status.budget) == ("1e-05", "50")
    assert status_of(ran(search()), search()).privacy is None


def test_a_search_that_promises_nothing_has_the_identity_it_always_had() -> None:
    view = ran(search())
    assert view.start is not None
    assert "privacy" not in view.start.spec
    assert view.privacy is None
    assert not releasing(view)
    assert isinstance(view.end, Ended)


def test_the_plan_counts_who_is_drawn_and_how_often_groups_train() -> None:
    spec = promising(
        "model.initial.training.clientsPerRound=12",
        "finalTraining.rounds=3",
        "finalTraining.clientsPerRound=12",
    ).spec
    clients = [f"client-{index}" for index in range(12)]
    found = spending(spec, clients, groups=4, tuned=2, rounds=(9, 16))
    assert found is not None
    assert found.releases == (2 + 3 + 3 * 2, 2 + 4 + 3 * 2)
    assert found.epsilon == tuple(epsilon_of(times, promise()) for times in found.releases)
    assert spending(search().spec, clients, groups=4, tuned=2, rounds=(9, 16)) is None


def test_networks_trained_as_one_are_one_release_a_client_and_round() -> None:
    nested = ("nested=true", "rounds=3", "clientsPerRound=12")
    spec = promising(
        "deviceClasses.hub.budget.macs.share=1",
        *(f"finalTraining.{setting}" for setting in nested),
    )
    tries = ([e for e in releasing(ran(spec)) if e.id.phase == FINAL] for _ in range(20))
    # The noise decides which networks the classes get: two, most of the time.
    final = next(found for found in tries if len({entry.id.subject for entry in found}) == 2)
    for number in (1, 2, 3):
        asked = [int(entry.clients, 16) for entry in final if entry.id.number == number]
        assert sum(asked) == asked[0] | asked[1] == (1 << 12) - 1
    clients = [f"client-{index}" for index in range(12)]
    planned, without = (
        spending(one.spec, clients, groups=4, tuned=2, rounds=(8, 8)) for one in (spec, promising())
    )
    assert planned is not None
    assert without is not None
    assert planned.releases[0] == without.releases[0] + 3


def test_in_mlflow_each_number_of_releases_has_one_epsilon() -> None:
    whole, view, fold = ran(promising()), View(), Points()
    entries = sorted(whole.entries.values(), key=lambda entry: entry.order(whole.phases))
    points = []
    for entry in entries:
        view.apply(Recorded(entry, 0.0))
        points += fold.apply(Recorded(entry, 0.0), view)
    told = {point.step: point.value for point in points if point.key == "privacy/epsilon"}
    most = max(whole.releases.values())
    assert told == {times: epsilon_of(times, promise()) for times in range(1, most + 1)}
    assert privacy_tags(view) == {
        "fednas.epsilon": f"{epsilon_of(most, promise()):.4g}",
        "fednas.delta": "1e-05",
    }
    assert privacy_tags(ran(search())) == {}
