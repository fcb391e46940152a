"""The view of a journal that ``fednas run examples/small.yaml`` wrote."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from fednas.errors import Corrupt
from fednas.search import View, select, status_of
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Record, canonical_json


@cache
def _read() -> dict[str, Record]:
    file = Path(__file__).parents[1] / "tracking" / "journal.json"
    entries = json.loads(file.read_text())
    return {key: Record(key, entry["value"], entry["time"]) for key, entry in entries.items()}


def recorded() -> dict[str, Record]:
    return dict(_read())


def recorded_search() -> FederatedSearch:
    start = recorded()["000-start"].value
    return load_spec(
        {
            "apiVersion": "fednas.dev/v1alpha1",
            "kind": "FederatedSearch",
            "metadata": {"name": start["name"]},
            "spec": start["spec"],
        }
    )


def test_the_ladder_goes_down() -> None:
    ladder = View(recorded().values()).ladder
    assert [rung.rung for rung in ladder] == list(range(len(ladder)))
    macs = [rung.macs for rung in ladder]
    assert macs == sorted(macs, reverse=True)
    assert ladder[0].share == 1.0
    assert ladder[-1].share == ladder[-1].macs / ladder[0].macs
    for rung in ladder:
        rows = [r for r in recorded().values() if r.value.get("weights") == rung.sha256]
        assert rows
        assert 0 < rung.accuracy <= 1


def test_every_candidate_has_one_fate_and_each_iteration_one_winner() -> None:
    view = View(recorded().values())
    for key, record in view.records.items():
        if not key.endswith("/generated"):
            continue
        iteration = record.value["iteration"]
        rows = [row for row in view.decisions if row["iteration"] == iteration]
        assert {row["candidate"] for row in rows} == {
            candidate["candidate"] for candidate in record.value["candidates"]
        }
        fates = [row["outcome"] for row in rows]
        assert fates.count("winner") == 1
        assert set(fates) <= {"winner", "kept", "dropped", "failed"}
        assert sum(row["kept"] for row in rows) == 2
        winner = next(row for row in rows if row["outcome"] == "winner")
        assert winner["finalRank"] == 1
        assert winner["macs"] == view.ladder[iteration].macs


def test_rounds_are_told_in_the_order_of_the_search() -> None:
    rows = View(recorded().values()).rounds
    assert [row["phase"] for row in rows[:4]] == ["initial"] * 4
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    trained = [row for row in rows if row["phase"] in ("initial", "pre", "post")]
    assert len(trained) == sum(key.endswith("-closed") for key in recorded())
    assert all(row["clients"] > 0 for row in trained)


def test_at_every_moment_there_is_a_view_and_a_small_status() -> None:
    search = recorded_search()
    records = sorted(recorded().values(), key=lambda record: (record.time, record.key))
    rungs, phases = 0, []
    for count in range(len(records) + 1):
        view = View(records[:count])
        status = status_of(view, search, available=3, result_uri="s3://b/ladder/x")
        assert len(view.ladder) >= rungs
        rungs = len(view.ladder)
        dumped = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert len(canonical_json(dumped)) < 16 * 1024
        if not phases or phases[-1] != status.phase:
            phases.append(status.phase)
    assert phases == ["Pending", "Initializing", "Searching", "Complete"]


def test_the_status_of_a_complete_search() -> None:
    view, search = View(recorded().values()), recorded_search()
    status = status_of(view, search, available=12)
    closed = sum(key.endswith("-closed") for key in view.records)
    assert status.rounds == closed
    assert status.candidates.active == 0
    assert status.candidates.dropped == sum(r["outcome"] == "dropped" for r in view.decisions)
    assert (status.clients.available, status.clients.total) == (12, 12)
    assert status.display.clients == "12/12"
    assert [rung.rung for rung in status.ladder] == [rung.rung for rung in view.ladder]
    assert status.cost.client_macs == view.ledger.search.macs // 12
    assert status.cost.times_cheaper_than_naive == f"{view.ledger.factors['total']:.1f}"
    assert {chosen.device_class for chosen in status.selected} <= {"phone", "hub"}
    for chosen in status.selected:
        device = next(d for d in search.spec.device_classes if d.name == chosen.device_class)
        assert device.budget is not None
        assert view.ladder[chosen.rung].share <= device.budget.macs.share


def test_a_class_gets_the_largest_rung_within_its_budget() -> None:
    ladder = View(recorded().values()).ladder
    assert select(ladder, 1.0) is ladder[0]
    assert select(ladder, ladder[1].share) is ladder[1]
    assert select(ladder, ladder[1].share - 1e-9) is ladder[2]
    assert select(ladder, ladder[-1].share / 2) is None
    assert select([], 1.0) is None


def test_a_survivor_that_fails_later_is_told_as_failed() -> None:
    records = recorded()
    winner = dict(records["001/winner"].value)
    lost = winner["ranking"][-1]["candidate"]
    winner["ranking"] = winner["ranking"][:-1]
    records["001/winner"] = Record("001/winner", winner, 0.0)
    fates = {
        row["candidate"]: row["outcome"]
        for row in View(records.values()).decisions
        if row["iteration"] == 1
    }
    assert fates[lost] == "failed"


@pytest.mark.parametrize("key", ["000/rung", "001/rung", "002/rung"])
def test_a_ladder_with_a_hole_is_corrupt(key: str) -> None:
    records = recorded()
    del records[key]
    with pytest.raises(Corrupt, match="a rung is missing"):
        View(records.values()).ladder  # noqa: B018


def test_decisions_about_unknown_candidates_are_corrupt() -> None:
    records = recorded()
    del records["002/generated"]
    with pytest.raises(Corrupt, match="no 002/generated"):
        View(records.values()).decisions  # noqa: B018
