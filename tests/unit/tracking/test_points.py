from __future__ import annotations

from collections import Counter

import pytest

from fednas.search import Closed, Recorded, Scored, View
from fednas.tracking._points import Point, Points


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
