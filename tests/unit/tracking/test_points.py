from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.search import Closed, Consented, Dropped, Generated, Recorded, Scored, Started, View
from fednas.tracking._points import Point, Points
from tests.unit.tracking.conftest import recorded


def folded(entries: list[Recorded]) -> list[Point]:
    """Every point that these entries give."""
    view, points, found = View(), Points(), []
    for one in entries:
        view.apply(one)
        found += points.apply(one, view)
    return found


def series(found: list[Point], key: str) -> dict[int, float]:
    return {point.step: point.value for point in found if point.key == key}


def test_a_metric_has_one_value_per_step(entries: list[Recorded]) -> None:
    found = folded(entries)
    assert max(Counter((point.key, point.step) for point in found).values()) == 1


@pytest.mark.parametrize(("number", "prefix"), [(0, "untrained/"), (1, "candidate/")])
def test_every_aggregate_of_every_candidate_is_a_point(
    entries: list[Recorded], number: int, prefix: str
) -> None:
    found = set(folded(entries))
    scored = [
        (one.entry, one.time)
        for one in entries
        if isinstance(one.entry, Scored) and one.entry.id.iteration
    ]
    mine = [(entry, time) for entry, time in scored if entry.id.number == number]
    assert mine
    for entry, time in mine:
        accuracy = entry.sums["correct"] / entry.sums["total"]
        key = prefix + entry.id.subject
        assert any((p.key, p.value, p.time) == (key, accuracy, time) for p in found)


def test_global_rounds_count_candidates_in_parallel_once(entries: list[Recorded]) -> None:
    best = series(folded(entries), "round/accuracy_best")
    assert sorted(best) == list(range(1, 4 + 3 * 2 + 1))  # 4 initial, then 3 iterations of 1 + 1


def test_the_ladder_is_told_over_its_rungs(entries: list[Recorded], view: View) -> None:
    found = folded(entries)
    assert series(found, "accuracy") == {rung.rung: rung.accuracy for rung in view.ladder}
    assert series(found, "share") == {rung.rung: rung.share for rung in view.ladder}


def test_kept_says_who_was_dropped_and_when(entries: list[Recorded], view: View) -> None:
    found = folded(entries)
    for row in view.decisions:
        assert series(found, f"kept/{row['layer']}")[row["iteration"]] == row["kept"]


def test_clients_and_loss_are_those_of_the_closed_rounds(entries: list[Recorded]) -> None:
    found = folded(entries)
    (closed,) = (
        one.entry
        for one in entries
        if isinstance(one.entry, Closed) and one.entry.id.key == "0000/initial/02"
    )
    assert series(found, "round/clients")[2] == closed.totals.clients == 6
    assert series(found, "round/loss")[2] == pytest.approx(closed.metrics["loss"])
    pre = [
        one.entry
        for one in entries
        if isinstance(one.entry, Closed)
        and (one.entry.id.iteration, one.entry.id.phase) == (1, "pre")
    ]
    samples = sum(one.totals.trained for one in pre)
    loss = sum(one.metrics["loss"] * one.totals.trained for one in pre) / samples
    assert series(found, "round/loss")[5] == pytest.approx(loss)
    assert series(found, "round/clients")[5] == sum(one.totals.clients for one in pre)


def test_cost_at_a_rung_is_what_was_paid_up_to_it(entries: list[Recorded], view: View) -> None:
    paid = series(folded(entries), "cost/client_gmacs")
    assert sorted(paid) == [0, 1, 2, 3]
    assert paid[0] == 0
    by_iteration = [view.ledger.iterations[str(n)].macs / 1e9 for n in (1, 2, 3)]
    assert paid[2] == pytest.approx(sum(by_iteration[:2]))
    assert paid[3] == pytest.approx(view.ledger.search.macs / 1e9)


def test_points_of_a_growing_journal_never_change(entries: list[Recorded]) -> None:
    """Whatever was exported from a part of the journal is what the whole gives."""
    whole = folded(entries)
    for count in range(1, len(entries)):
        part = folded(entries[:count])
        assert part == whole[: len(part)]


def test_candidates_in_parallel_give_the_same_points_whoever_was_first(
    entries: list[Recorded],
) -> None:
    phases = View(entries).phases
    swapped = sorted(
        entries, key=lambda one: (one.entry.order(phases), "".join(reversed(one.entry.key)))
    )
    assert [one.entry.key for one in swapped] != [one.entry.key for one in entries]
    before = {(p.key, p.step): p.value for p in folded(entries)}
    after = {(p.key, p.step): p.value for p in folded(swapped)}
    assert after.keys() == before.keys()
    for key, value in after.items():
        assert value == pytest.approx(before[key])


@given(st.randoms(use_true_random=False))
def test_points_are_those_of_any_order_in_which_a_round_can_be_written(random: Any) -> None:
    """Live, a candidate is evaluated before another one's updates are there."""
    phases = View(recorded()).phases
    places: dict[tuple[int, ...], list[Recorded]] = defaultdict(list)
    for one in recorded():
        order = one.entry.order(phases)
        places[(*order[:3], order[3] > Scored.rank)].append(one)
    live: list[Recorded] = []
    for place in sorted(places):
        pairs: dict[str, list[Recorded]] = defaultdict(list)
        for one in places[place]:
            pairs[one.entry.key.rpartition("-")[0]].append(one)
        while pairs:
            chosen = random.choice(sorted(pairs))
            live.append(pairs[chosen].pop(0))
            if not pairs[chosen]:
                del pairs[chosen]
    told = {(p.key, p.step): p.value for p in folded(live)}
    assert told == pytest.approx({(p.key, p.step): p.value for p in folded(recorded())})


@pytest.mark.parametrize("at", range(1, 72, 7))
def test_a_consent_in_the_middle_of_a_round_changes_nothing(
    entries: list[Recorded], at: int
) -> None:
    """It is written where a search goes on; whoever reads it later reads it at the start."""
    consent = Recorded(Consented(numerics={"digest": "d"}), entries[at].time)
    assert folded([*entries[:at], consent, *entries[at:]]) == folded(entries)


def test_a_candidate_that_changes_several_layers_is_called_by_its_name(
    entries: list[Recorded],
) -> None:
    """MLflow refuses a ``+``, and more than 250 characters."""
    found = folded([_changing_all(one) for one in entries])
    assert series(found, "candidate/layers.0.conv") == series(
        folded(entries), "candidate/layers.0.conv"
    )
    assert not [point.key for point in found if "+" in point.key]


def _changing_all(one: Recorded) -> Recorded:
    if not isinstance(one.entry, Generated):
        return one
    every = {name: change for c in one.entry.candidates for name, change in c.changes.items()}
    offered = tuple(c.model_copy(update={"changes": every}) for c in one.entry.candidates)
    return Recorded(one.entry.model_copy(update={"candidates": offered}), one.time)


def test_candidates_that_change_the_same_layer_are_told_apart(entries: list[Recorded]) -> None:
    same = []
    for one in entries:
        entry = one.entry
        if isinstance(entry, Generated):
            changes = entry.candidates[0].changes
            offered = tuple(c.model_copy(update={"changes": changes}) for c in entry.candidates)
            entry = entry.model_copy(update={"candidates": offered})
        same.append(Recorded(entry, one.time))
    assert max(Counter((point.key, point.step) for point in folded(same)).values()) == 1


def test_a_second_drop_says_nothing_anew_of_who_was_told(entries: list[Recorded]) -> None:
    index = next(i for i, one in enumerate(entries) if isinstance(one.entry, Dropped))
    again = [*entries[: index + 1], *entries[index:]]
    assert folded(again) == folded(entries)


def test_a_layer_that_cannot_be_cut_has_no_width_and_shifts_no_other(
    entries: list[Recorded],
) -> None:
    fixed = []
    for one in entries:
        entry = one.entry
        if isinstance(entry, Started):
            first, *rest = entry.layers
            left = {"name": first.name, "choice": 0, "width": first.width, "reason": "tied"}
            entry = entry.model_copy(update={"layers": tuple(rest), "left_out": (left,)})
        fixed.append(Recorded(entry, one.time))
    before, after = folded(entries), folded(fixed)
    assert {p for p in before if p not in after} == {
        p for p in before if p.key == "width/layers.0.conv"
    }


def test_a_network_without_a_name_is_told_by_its_rounds_alone(entries: list[Recorded]) -> None:
    """MLflow refuses ``candidate/``, and all that it is sent with."""
    nameless, seen = [], set()
    for one in entries:
        entry = one.entry
        if isinstance(entry, Closed | Scored):
            id = replace(entry.id, subject="")
            if (type(entry), id) in seen:
                continue
            seen.add((type(entry), id))
            entry = entry.model_copy(update={"id": id})
        nameless.append(Recorded(entry, one.time))
    found = folded(nameless)
    assert not [point.key for point in found if point.key.startswith(("candidate", "untrained"))]
    best = series(found, "round/accuracy_best")
    assert sorted(best) == sorted(series(folded(entries), "round/accuracy_best"))
