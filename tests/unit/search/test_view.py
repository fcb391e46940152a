"""The view of a journal that ``fednas run examples/small.yaml`` wrote."""

from __future__ import annotations

import pytest

from fednas.errors import Corrupt
from fednas.federation import RoundId
from fednas.search import (
    Added,
    Closed,
    Dropped,
    Generated,
    Recorded,
    Scored,
    View,
    Won,
    select,
    status_of,
)
from fednas.spec import Bound
from fednas.store import canonical_json
from tests.unit.tracking.conftest import recorded, recorded_search


def without(*kinds: type, iteration: int | None = None) -> list[Recorded]:
    """The recorded entries, some left out."""
    return [
        one
        for one in recorded()
        if not (isinstance(one.entry, kinds) and (iteration is None or at(one) == iteration))
    ]


def at(one: Recorded) -> int:
    entry = one.entry
    if isinstance(entry, Generated | Won | Added):
        return entry.iteration
    return entry.id.iteration if isinstance(entry, Closed | Scored | Dropped) else -1


def test_the_ladder_goes_down() -> None:
    ladder = View(recorded()).ladder
    assert [rung.rung for rung in ladder] == list(range(len(ladder)))
    macs = [rung.macs for rung in ladder]
    assert macs == sorted(macs, reverse=True)
    assert ladder[0].share == 1.0
    assert ladder[-1].share == ladder[-1].macs / ladder[0].macs
    scored = {one.entry.blobs["weights"] for one in recorded() if isinstance(one.entry, Scored)}
    for rung in ladder:
        assert rung.sha256 in scored
        assert 0 < rung.accuracy <= 1


def test_every_candidate_has_one_fate_and_each_iteration_one_winner() -> None:
    view = View(recorded())
    for one in recorded():
        if not isinstance(one.entry, Generated):
            continue
        rows = [row for row in view.decisions if row["iteration"] == one.entry.iteration]
        assert {row["candidate"] for row in rows} == {c.name for c in one.entry.candidates}
        fates = [row["outcome"] for row in rows]
        assert fates.count("winner") == 1
        assert set(fates) <= {"winner", "kept", "dropped", "failed"}
        assert sum(row["kept"] for row in rows) == 2
        winner = next(row for row in rows if row["outcome"] == "winner")
        assert winner["finalRank"] == 1
        assert winner["macs"] == view.ladder[one.entry.iteration].macs


def test_rounds_are_told_in_the_order_of_the_search() -> None:
    view = View(recorded())
    rows = view.rounds
    assert [row["phase"] for row in rows[:4]] == ["initial"] * 4
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    trained = [row for row in rows if row["phase"] in ("initial", "pre", "post")]
    assert len(trained) == view.rounds_closed
    assert all(row["clients"] > 0 for row in trained)


def test_at_every_moment_there_is_a_view_and_a_small_status() -> None:
    search, view = recorded_search(), View()
    rungs, phases = 0, ["Pending"]
    for one in recorded():
        view.apply(one)
        status = status_of(view, search, available=3, result_uri="s3://b/ladder/x")
        assert len(view.ladder) >= rungs
        rungs = len(view.ladder)
        dumped = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert len(canonical_json(dumped)) < 16 * 1024
        if phases[-1] != status.phase:
            phases.append(str(status.phase))
    assert phases == ["Pending", "Initializing", "Searching", "Complete"]


def test_a_fold_step_by_step_is_the_fold_of_the_whole() -> None:
    slow = View()
    for one in recorded():
        slow.apply(one)
        assert slow.decisions is not slow.decisions  # copies: nobody can change the fold's own
    fast = View(recorded())
    assert slow.decisions == fast.decisions
    assert slow.rounds == fast.rounds
    assert slow.ledger.to_dict() == fast.ledger.to_dict()


def test_the_status_of_a_complete_search() -> None:
    view, search = View(recorded()), recorded_search()
    status = status_of(view, search, available=12)
    assert status.rounds == sum(isinstance(one.entry, Closed) for one in recorded())
    assert status.candidates is not None
    assert status.candidates.active == 0
    assert status.candidates.dropped == sum(r["outcome"] == "dropped" for r in view.decisions)
    assert status.clients is not None
    assert (status.clients.available, status.clients.total) == (12, 12)
    assert status.display is not None
    assert status.display.clients == "12/12"
    assert status.display.iteration == "3/3"
    assert status.ladder is not None
    assert [rung.rung for rung in status.ladder] == [rung.rung for rung in view.ladder]
    assert status.cost is not None
    assert status.cost.client_macs == view.ledger.search.macs // 12
    assert status.cost.times_cheaper_than_naive == f"{view.ledger.factors['total']:.1f}"
    assert status.selected
    for chosen in status.selected:
        device = next(d for d in search.spec.device_classes if d.name == chosen.device_class)
        assert device.budget is not None
        assert device.budget.macs is not None
        assert device.budget.macs.share is not None
        assert view.ladder[chosen.rung].share <= device.budget.macs.share


def test_a_class_gets_the_largest_rung_within_its_budget() -> None:
    ladder = View(recorded()).ladder
    assert select(ladder, Bound("macs", 1.0)) is ladder[0]
    assert select(ladder, Bound("macs", ladder[1].share)) is ladder[1]
    assert select(ladder, Bound("macs", ladder[1].share - 1e-9)) is ladder[2]
    assert select(ladder, Bound("macs", ladder[-1].share / 2)) is None
    assert select([], Bound("macs", 1.0)) is None


def test_a_budget_may_count_something_else_than_the_target() -> None:
    ladder = View(recorded()).ladder
    params = [rung.params for rung in ladder]
    assert select(ladder, Bound("params", amount=params[2])) is ladder[2]
    assert select(ladder, Bound("params", amount=params[-1] - 1)) is None
    assert select(ladder, Bound("params", 1.0)) is ladder[0]


def test_candidates_are_active_until_they_are_dropped_or_one_has_won() -> None:
    view, seen = View(), []
    for one in recorded():
        view.apply(one)
        if isinstance(one.entry, Generated | Dropped | Won):
            seen.append(view.active)
    assert seen == [4, 2, 0] * 3


def test_a_survivor_that_fails_later_is_told_as_failed() -> None:
    entries, lost = recorded(), ""
    for index, one in enumerate(entries):
        if isinstance(one.entry, Won) and one.entry.iteration == 1:
            lost = one.entry.ranking[-1].candidate
            fewer = one.entry.model_copy(update={"ranking": one.entry.ranking[:-1]})
            entries[index] = Recorded(fewer, one.time)
    view = View(entries)
    fates = {r["candidate"]: r["outcome"] for r in view.decisions if r["iteration"] == 1}
    assert fates[lost] == "failed"
    assert view.fates["failed"] == 1


@pytest.mark.parametrize("iteration", [0, 1, 2])
def test_a_ladder_with_a_hole_is_corrupt(iteration: int) -> None:
    with pytest.raises(Corrupt, match="a rung is missing"):
        View(without(Added, iteration=iteration))


def test_decisions_about_unknown_candidates_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="no candidates of that iteration"):
        View(without(Generated, iteration=2))


def test_an_evaluated_round_without_its_updates_is_corrupt() -> None:
    with pytest.raises(Corrupt, match=r"scored is there, but no .*closed"):
        View(without(Closed, iteration=1))


def test_what_is_known_of_a_round_is_found_by_its_id() -> None:
    view = View(recorded())
    id = RoundId(0, "initial", "", 2)
    closed, scored = view.get(Closed, id), view.get(Scored, id)
    assert closed is not None
    assert scored is not None
    assert closed.id == scored.id == id
    assert view.get(Scored, RoundId(9, "pre", "x", 1)) is None
