from __future__ import annotations

import pytest

from fednas.search import Candidate, Problem, Ranked
from fednas.search._winner import rank_by_accuracy_per_resource
from fednas.space import Resource
from tests.unit.search.test_drop import candidate, outcome
from tests.unit.search.toy import network, space

PARENT = network()


def ranked(rows: dict[str, tuple[int, int, bool]]) -> tuple[tuple[Ranked, ...], Candidate]:
    """Candidates are (correct of 100, MACs, reached target); parent 70 of 100, 100 MACs."""
    costs = {PARENT.key(): 100}
    candidates, outcomes = [], {}
    for index, (name, (correct, macs, reached)) in enumerate(rows.items()):
        widths = network(index + 1, 1, 1, 1)
        costs[widths.key()] = macs
        one = candidate(name, index, macs, reached=reached)
        candidates.append(Candidate(**{**vars(one), "architecture": widths}))
        outcomes[name] = outcome(correct)

    def cost(_: object, widths: object) -> int:
        return costs[PARENT.with_widths(widths).key()]  # type: ignore[arg-type]

    problem = Problem(space(), Resource("macs", cost), 0.5, ((),), 0, lambda network: None)  # type: ignore[arg-type,return-value]
    return rank_by_accuracy_per_resource(
        candidates, outcomes, problem=problem, parent=outcome(70), full=200
    )


def rank(**rows: tuple[int, int, bool]) -> list[str]:
    ranking, winner = ranked(rows)
    order = [row.candidate for row in ranking]
    assert winner.name == order[0]
    return order


def test_the_ratio_is_the_authors_own() -> None:
    (row,), _ = ranked({"a": (66, 80, True)})
    assert row.ratio == pytest.approx((0.70 - 0.66 + 1e-6) / (100 / 200 - 80 / 200 + 1e-5))


def test_least_accuracy_lost_per_resource_saved_wins() -> None:
    # lost/saved: a .04/.10 = .40; b .02/.10 = .20; c .03/.20 = .15
    assert rank(a=(66, 80, True), b=(68, 80, True), c=(67, 60, True)) == ["c", "b", "a"]


def test_who_reached_the_target_comes_before_who_merely_got_smaller() -> None:
    assert rank(a=(69, 95, False), b=(40, 80, True)) == ["b", "a"]
    assert rank(a=(75, 95, False), b=(40, 80, True)) == ["b", "a"]
    assert rank(a=(60, 95, False), b=(65, 95, False)) == ["b", "a"]


def test_among_gains_accuracy_decides_and_not_the_tiniest_cut() -> None:
    # The unguarded ratio of a, -.02/.005, beats that of b, -.03/.10, and rewards a tiny cut.
    assert rank(a=(72, 99, True), b=(73, 80, True)) == ["b", "a"]
    assert rank(a=(72, 90, True), b=(72, 80, True), c=(72, 80, True)) == ["b", "c", "a"]


def test_a_gain_comes_before_a_loss_and_no_change_is_no_gain() -> None:
    assert rank(a=(69, 10, True), b=(71, 99, True)) == ["b", "a"]
    assert rank(a=(70, 99, True), b=(70, 60, True), c=(71, 99, True)) == ["c", "b", "a"]
