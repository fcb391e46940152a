from __future__ import annotations

from collections import Counter

import pytest

from fednas.search import View
from fednas.store import Record
from fednas.tracking._points import Point, points

Records = dict[str, Record]


def series(found: list[Point], key: str) -> dict[int, float]:
    return {point.step: point.value for point in found if point.key == key}


def test_a_metric_has_one_value_per_step(records: Records) -> None:
    found = list(points(records, records))
    assert max(Counter((point.key, point.step) for point in found).values()) == 1


def test_every_aggregate_of_every_candidate_is_a_point(records: Records) -> None:
    found = list(points(records, records))
    for phase, prefix in (("cut", "untrained/"), ("pre", "candidate/"), ("post", "candidate/")):
        aggregates = [
            record
            for record in records.values()
            if record.key.endswith("-aggregated") and record.value["phase"] == phase
        ]
        assert aggregates
        for record in aggregates:
            accuracy = record.value["correct"] / record.value["total"]
            assert any(
                point.key == prefix + record.value["candidate"]
                and point.value == accuracy
                and point.time == record.time
                for point in found
            )


def test_global_rounds_count_candidates_in_parallel_once(records: Records) -> None:
    best = series(list(points(records, records)), "round/accuracy_best")
    assert sorted(best) == list(range(1, 4 + 3 * 2 + 1))  # 4 initial, then 3 iterations of 1 + 1


def test_the_ladder_is_told_over_its_rungs(records: Records, view: View) -> None:
    found = list(points(records, records))
    assert series(found, "accuracy") == {rung.rung: rung.accuracy for rung in view.ladder}
    assert series(found, "share") == {rung.rung: rung.share for rung in view.ladder}


def test_kept_says_who_was_dropped_and_when(records: Records, view: View) -> None:
    found = list(points(records, records))
    for row in view.decisions:
        assert series(found, f"kept/{row['layer']}")[row["iteration"]] == row["kept"]


def test_clients_and_loss_are_those_of_the_closed_rounds(records: Records) -> None:
    found = list(points(records, records))
    closed = records["000-initial/02-closed"].value
    assert series(found, "round/clients")[2] == len(closed["updates"])
    losses = [update["loss"] for update in closed["updates"]]
    assert min(losses) <= series(found, "round/loss")[2] <= max(losses)


def test_points_of_a_growing_journal_never_change(records: Records) -> None:
    """Whatever was exported from a part of the journal is what the whole gives."""
    whole = set(points(records, records))
    ordered = sorted(records.values(), key=lambda record: (record.time, record.key))
    for count in range(1, len(ordered), 5):
        part = {record.key: record for record in ordered[:count]}
        assert set(points(part, part)) <= whole


@pytest.mark.parametrize("barrier", ["002/dropped", "002/winner", "002/rung"])
def test_a_record_that_is_not_settled_gives_no_point(records: Records, barrier: str) -> None:
    settled = [key for key in records if key != barrier]
    without, everything = set(points(records, settled)), set(points(records, records))
    assert without < everything
