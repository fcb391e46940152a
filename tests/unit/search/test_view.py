"""The view of a journal that ``fednas run examples/small.yaml`` wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednas.errors import Corrupt
from fednas.federation import RoundId
from fednas.search import (
    Added,
    Closed,
    Dropped,
    Generated,
    Recorded,
    Rung,
    Scored,
    Tuned,
    View,
    Won,
    select,
    status_of,
)
from fednas.spec import Bound, load_spec
from fednas.store import canonical_json
from tests.unit.tracking.conftest import compared, recorded, recorded_search


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
        assert set(fates) <= {"winner", "kept", "screened", "dropped"}
        assert fates.count("kept") == 1
        assert [row["kept"] for row in rows] == [fate in ("winner", "kept") for fate in fates]
        assert all((row["finalRank"] is None) != row["kept"] for row in rows)
        winner = next(row for row in rows if row["outcome"] == "winner")
        assert winner["finalRank"] == 1
        assert winner["macs"] == view.ladder[one.entry.iteration].macs


def test_a_winner_has_its_lead_and_nobody_else() -> None:
    view = View(compared())
    for row in view.decisions:
        won = row["outcome"] == "winner"
        assert (row["lead"] is not None) == (row["standardError"] is not None) == won
        if won:
            error = 0.05 if row["iteration"] == 1 else 0.5
            assert (row["lead"], row["standardError"]) == pytest.approx((0.5, error))
    assert [lead.is_sure for lead in view.leads] == [True, False, False, False]


def test_a_journal_from_before_winners_were_compared_is_read_without() -> None:
    old, new = View(recorded()), View(compared())
    assert old.leads == []
    for before, now in zip(old.decisions, new.decisions, strict=True):
        assert before.keys() == now.keys()
        assert (before["lead"], before["standardError"]) == (None, None)
        assert before == now | {"lead": None, "standardError": None}
    assert old.ledger.to_dict() == new.ledger.to_dict()


def test_rounds_are_told_in_the_order_of_the_search() -> None:
    view = View(recorded())
    rows = view.rounds
    assert [row["phase"] for row in rows[:4]] == ["initial"] * 4
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert rows[-1]["phase"] == "final"
    trained = [row for row in rows if row["phase"] in ("initial", "pre", "post", "final")]
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
    assert phases == ["Pending", "Initializing", "Searching", "FinalTraining", "Complete"]


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
    assert status.candidates.dropped == sum(not row["kept"] for row in view.decisions) > 0
    assert status.clients is not None
    assert (status.clients.available, status.clients.total) == (12, 12)
    assert status.display is not None
    assert status.display.clients == "12/12"
    assert status.display.iteration == "4/4"
    assert status.ladder is not None
    assert [rung.rung for rung in status.ladder] == [rung.rung for rung in view.ladder]
    assert status.cost is not None
    assert view.ledger.final.macs > 0
    assert status.cost.client_macs == (view.ledger.search.macs + view.ledger.final.macs) // 12
    assert status.best is not None
    assert status.best.rung == view.ladder[-1].rung
    assert status.best.accuracy == f"{view.ladder[-1].accuracy:.4f}"
    assert status.cost.times_cheaper_than_naive == f"{view.ledger.factors['total']:.1f}"
    assert status.selected
    for chosen in status.selected:
        device = next(d for d in search.spec.device_classes if d.name == chosen.device_class)
        assert device.budget is not None
        assert device.budget.macs is not None
        assert device.budget.macs.share is not None
        assert view.ladder[chosen.rung].share <= device.budget.macs.share


def ladder(**losses: tuple[float, float]) -> list[Rung]:
    """Rungs of these shares and losses on the validation rows."""
    start = View(recorded()).ladder[0]
    return [
        replace(
            start,
            rung=index,
            share=share,
            costs={"macs": round(1000 * share), "params": round(500 * share)},
            validation_loss=loss,
            accuracy=1 - share,
        )
        for index, (share, loss) in enumerate(losses.values())
    ]


def test_a_class_gets_the_rung_within_its_budget_of_the_least_validation_loss() -> None:
    rungs = ladder(a=(1.0, 0.2), b=(0.8, 0.5), c=(0.6, 0.4), d=(0.4, 0.45))
    chosen = [select(rungs, Bound("macs", share)) for share in (1.0, 0.9, 0.8, 0.6)]
    assert chosen == [rungs[0], *[rungs[2]] * 3]
    assert select(rungs, Bound("macs", 0.6 - 1e-9)) is rungs[3]
    assert select(rungs, Bound("macs", 0.3)) is None
    assert select([], Bound("macs", 1.0)) is None


def test_a_budget_may_count_something_else_than_the_target() -> None:
    rungs = ladder(a=(1.0, 0.2), b=(0.8, 0.3), c=(0.6, 0.4))
    assert select(rungs, Bound("params", amount=400)) is rungs[1]
    assert select(rungs, Bound("params", amount=299)) is None


def test_what_was_trained_after_the_search_comes_before_what_looks_better_by_chance() -> None:
    rungs = ladder(a=(1.0, 0.2), b=(0.8, 0.3), c=(0.6, 0.4))
    rungs[2] = replace(rungs[2], trained=True)
    assert select(rungs, Bound("macs", 1.0)) is rungs[2]


def test_of_equal_losses_a_class_gets_the_smaller_rung() -> None:
    rungs = ladder(a=(1.0, 0.3), b=(0.8, 0.3), c=(0.6, 0.3), d=(0.4, 0.31))
    assert select(rungs, Bound("macs", 1.0)) is rungs[2]


def test_a_class_without_a_budget_of_its_own_gets_what_meets_the_target() -> None:
    view, search = View(recorded()), recorded_search()
    spec = search.to_dict()
    del spec["spec"]["deviceClasses"][0]["budget"]
    chosen = view.selected(load_spec(spec))
    name = search.spec.device_classes[0].name
    assert chosen[name] is select(view.ladder, search.spec.target.bound) is not None


def test_a_trained_rung_takes_the_place_of_the_one_that_the_search_left() -> None:
    view = View(recorded())
    tuned = [one.entry for one in recorded() if isinstance(one.entry, Tuned)]
    assert tuned
    for entry in tuned:
        searched, rung = view.searched[entry.rung], view.ladder[entry.rung]
        assert (searched.trained, rung.trained) == (False, True)
        assert (searched.file, rung.file) == (
            f"rung-{entry.rung:02}.safetensors",
            f"rung-{entry.rung:02}-final.safetensors",
        )
        assert rung.sha256 == entry.blobs["weights"] != searched.sha256
        assert rung.accuracy == entry.sums["correct"] / entry.sums["total"]
        assert rung.validation_loss == entry.validation["loss"] / entry.validation["total"]
        assert rung.searched_accuracy == searched.accuracy == searched.searched_accuracy
        assert (rung.macs, rung.share) == (searched.macs, searched.share)
        assert rung.advantage == searched.accuracy - searched.baseline_accuracy
    left = {rung.rung for rung in view.ladder} - {entry.rung for entry in tuned}
    assert all(view.ladder[rung] == view.searched[rung] for rung in left)


def test_what_was_trained_has_no_rung_is_corrupt() -> None:
    entries = recorded()
    index = next(i for i, one in enumerate(entries) if isinstance(one.entry, Tuned))
    wrong = entries[index].entry.model_copy(update={"rung": 9})
    with pytest.raises(Corrupt, match="no rung 9"):
        View([*entries[:index], Recorded(wrong, 0.0)])


def test_the_start_has_nothing_to_be_compared_with_and_every_other_rung_has() -> None:
    view = View(recorded())
    assert view.ladder[0].baseline_accuracy is view.ladder[0].advantage is None
    for rung, added in zip(view.ladder[1:], view.added[1:], strict=True):
        assert added.baseline is not None
        assert added.baseline.costs["macs"] <= rung.macs
        right = added.baseline.sums["correct"] / added.baseline.sums["total"]
        assert rung.baseline_accuracy == right


def test_candidates_are_active_until_they_are_screened_dropped_or_one_has_won() -> None:
    view, seen = View(), set()
    for one in recorded():
        view.apply(one)
        match one.entry:
            case Generated(candidates=candidates):
                assert view.active == len(candidates)
            case Dropped(ranking=ranking):
                assert view.active == sum(row.kept for row in ranking) < len(ranking)
                seen.add(one.entry.id.phase)
            case Won():
                assert view.active == 0
    assert seen == {"cut", "pre"}


def test_who_was_never_trained_was_screened_and_who_trained_was_dropped() -> None:
    view = View(recorded())
    trained = {(row["iteration"], row["candidate"]) for row in view.rounds if row["round"]}
    fates = {(row["iteration"], row["candidate"]): row["outcome"] for row in view.decisions}
    assert {key for key, fate in fates.items() if fate == "screened"} == fates.keys() - trained
    assert {"screened", "dropped"} <= set(fates.values())


def test_a_decision_shows_the_loss_and_one_changed_layer_or_none() -> None:
    entries = recorded()
    rows = View(entries).decisions
    shown = {
        (one.entry.iteration, row.candidate): row.sums["loss"] / row.sums["total"]
        for one in entries
        if isinstance(one.entry, Won)
        for row in one.entry.ranking
    }
    for row in rows:
        key = row["iteration"], row["candidate"]
        assert row["loss"] == shown.get(key, row["loss"]) > 0
        assert row["layer"] == row["candidate"]
        assert row["widthAfter"] < row["widthBefore"]
        assert "accuracyAtDrop" not in row


def test_a_candidate_that_changes_several_layers_is_shown_by_its_name_without_widths() -> None:
    entries = recorded()
    for index, one in enumerate(entries):
        if isinstance(one.entry, Generated):
            every = {k: v for c in one.entry.candidates for k, v in c.changes.items()}
            offered = tuple(c.model_copy(update={"changes": every}) for c in one.entry.candidates)
            changed = one.entry.model_copy(update={"candidates": offered})
            entries[index] = Recorded(changed, one.time)
    for row in View(entries).decisions:
        assert (row["layer"], row["widthBefore"], row["widthAfter"]) == (
            row["candidate"],
            None,
            None,
        )


def test_a_survivor_that_fails_later_is_told_as_failed_with_what_it_came_to() -> None:
    entries, lost, before = recorded(), "", View(recorded())
    for index, one in enumerate(entries):
        if isinstance(one.entry, Won) and one.entry.iteration == 1:
            *others, last = one.entry.ranking
            lost = last.candidate
            failed = last.model_copy(update={"failed": True, "score": 0, "sums": {}})
            ranking = (*others, failed)
            entries[index] = Recorded(one.entry.model_copy(update={"ranking": ranking}), one.time)
    view = View(entries)
    (row,) = (r for r in view.decisions if (r["iteration"], r["candidate"]) == (1, lost))
    assert row["outcome"] == "failed"
    assert row["accuracy"] > 0
    assert view.fates["failed"] == 1
    assert before.fates["failed"] == 0


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
