from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.federation import FINAL
from fednas.search import Added, Closed, Computed, Consented, Recorded, Scored, Started, View
from fednas.tracking._points import Point, Points
from tests.unit.tracking.conftest import compared, recorded


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


def test_a_lead_changes_no_point(entries: list[Recorded]) -> None:
    assert folded(compared()) == folded(entries)


def test_nothing_is_told_of_single_layers_and_candidates(entries: list[Recorded]) -> None:
    """A chart of each would hide what compares searches; the tables hold them."""
    keys = {point.key for point in folded(entries)}
    assert not {key for key in keys if "layers" in key}
    sections = sorted({key.partition("/")[0] for key in keys if "/" in key})
    assert sections[0] == "accuracy", "the UI sorts them"
    assert sorted(key for key in keys if key.startswith("accuracy/")) == [
        "accuracy/by_client_mmacs",
        "accuracy/by_macs",
        "accuracy/by_macs_thinned_alike",
    ]


def test_global_rounds_count_candidates_in_parallel_once(entries: list[Recorded]) -> None:
    best = series(folded(entries), "round/accuracy_best")
    played = {
        (one.entry.id.iteration, one.entry.id.phase, one.entry.id.number)
        for one in entries
        if isinstance(one.entry, Scored) and one.entry.id.number
    }
    assert sorted(best) == list(range(1, len(played) + 1))


def test_what_the_cloud_does_alone_is_no_round(entries: list[Recorded]) -> None:
    index, last = [
        (index, one)
        for index, one in enumerate(entries)
        if isinstance(one.entry, Scored) and one.entry.id.phase == FINAL
    ][-1]
    assert isinstance(last.entry, Scored)
    id = replace(last.entry.id, number=last.entry.id.number + 1)
    taught = replace(last, entry=last.entry.model_copy(update={"id": id}))
    found = folded([*entries[: index + 1], taught, *entries[index + 1 :]])
    assert series(found, "round/accuracy_best") == series(folded(entries), "round/accuracy_best")


def test_the_ladder_is_told_over_its_rungs(entries: list[Recorded], view: View) -> None:
    found = folded(entries)
    searched = {rung.rung: rung.searched_accuracy for rung in view.ladder}
    assert series(found, "accuracy") == searched
    assert series(found, "rung/share") == {rung.rung: rung.share for rung in view.ladder}
    trained = {rung.rung: rung.accuracy for rung in view.ladder if rung.trained}
    assert trained
    assert series(found, "rung/accuracy_trained") == trained


def test_accuracy_is_told_over_macs_beside_the_network_thinned_alike(
    entries: list[Recorded], view: View
) -> None:
    found = folded(entries)
    over = {rung.macs: rung.searched_accuracy for rung in view.ladder}
    assert series(found, "accuracy/by_macs") == over
    thinned = series(found, "accuracy/by_macs_thinned_alike")
    for rung, added in zip(view.ladder[1:], view.added[1:], strict=True):
        assert added.baseline is not None
        assert added.baseline.costs["macs"] <= rung.macs
        assert thinned[added.baseline.costs["macs"]] == rung.baseline_accuracy


def test_accuracy_is_told_over_what_the_mean_client_paid(
    entries: list[Recorded], view: View
) -> None:
    assert view.start is not None
    told = series(folded(entries), "accuracy/by_client_mmacs")
    assert told[0] == view.ladder[0].accuracy
    paid, clients = 0, len(view.start.clients)
    for rung in view.ladder[1:]:
        paid += view.ledger.iterations[str(rung.rung)].macs
        assert told[round(paid / clients / 1e6)] == rung.searched_accuracy


def test_a_search_that_costs_the_clients_nothing_has_one_point_over_cost(
    entries: list[Recorded],
) -> None:
    free = [one for one in entries if isinstance(one.entry, Started | Scored | Computed | Added)]
    free = [one for one in free if not isinstance(one.entry, Scored) or not one.entry.id.number]
    assert list(series(folded(free), "accuracy/by_client_mmacs")) == [0]


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
    assert pre
    samples = sum(one.totals.trained for one in pre)
    loss = sum(one.metrics["loss"] * one.totals.trained for one in pre) / samples
    assert series(found, "round/loss")[5] == pytest.approx(loss)
    assert series(found, "round/clients")[5] == sum(one.totals.clients for one in pre)


def test_cost_at_a_rung_is_what_was_paid_up_to_it(entries: list[Recorded], view: View) -> None:
    paid = series(folded(entries), "cost/client_gmacs")
    assert sorted(paid) == [rung.rung for rung in view.ladder]
    assert paid[0] == 0
    by_iteration = [view.ledger.iterations[str(n)].macs / 1e9 for n in sorted(paid) if n]
    assert paid[2] == pytest.approx(sum(by_iteration[:2]))
    assert paid[len(by_iteration)] == pytest.approx(view.ledger.search.macs / 1e9)


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
