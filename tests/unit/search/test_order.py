"""Which of two candidates is the better."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.models import Model
from fednas.search import Outcome
from fednas.search._order import improves, of_trained
from fednas.spec import Order
from tests.unit.search.table import made
from tests.unit.search.toy import network

ORDERS: tuple[Order, ...] = get_args(Order)
PER_RESOURCE: tuple[Order, ...] = ("lossPerResource", "accuracyPerResource")


def rank(order: Order, **rows: tuple[int, float, int, bool]) -> str:
    """Names of one letter, best first; see `made`: (right of 100, loss, cost, reached)."""
    ranking, candidates, outcomes = made(rows)
    return "".join(one.name for one in ranking(order).sorted(candidates, outcomes))


def test_each_order_has_its_own_opinion() -> None:
    # The parent has 70 right, a loss of .5 and costs 100 of 200.
    rows = {
        "a": (66, 0.55, 90, True),  # lost .04 and .05 for .05 of the whole: .8 and 1
        "b": (62, 0.54, 60, True),  # lost .08 and .04 for .20: .4 and .2
        "c": (67, 0.59, 60, True),  # lost .03 and .09 for .20: .15 and .45
        "d": (60, 0.56, 20, True),  # lost .10 and .06 for .40: .25 and .15
    }
    assert rank("loss", **rows) == "badc"
    assert rank("accuracy", **rows) == "cabd"
    assert rank("lossPerResource", **rows) == "dbca"
    assert rank("accuracyPerResource", **rows) == "cdba"


def test_the_divergence_decides_for_what_was_cut_and_the_loss_for_what_was_trained() -> None:
    ranking, candidates, outcomes = made({"a": (60, 0.4, 80, True), "b": (50, 0.5, 80, True)})
    for name, divergence in (("a", 7.0), ("b", 3.0)):
        sums = {**outcomes[name].sums, "divergence": divergence}
        outcomes[name] = replace(outcomes[name], sums=sums)
    by = ranking("divergence")
    assert [one.name for one in by.sorted(candidates, outcomes)] == ["b", "a"]
    assert outcomes["b"].divergence == 0.03
    assert by.quantity == "divergence"
    trained = ranking(of_trained("divergence"))
    assert [one.name for one in trained.sorted(candidates, outcomes)] == ["a", "b"]


@pytest.mark.parametrize("order", ORDERS)
def test_who_met_the_target_comes_before_whoever_did_not(order: Order) -> None:
    assert rank(order, a=(90, 0.1, 95, False), b=(40, 0.9, 80, True)) == "ba"
    assert rank(order, a=(60, 0.6, 95, False), b=(65, 0.5, 95, False)) == "ba"


@pytest.mark.parametrize("order", ORDERS)
def test_who_failed_comes_last(order: Order) -> None:
    rows = {"a": (99, -1, 80, True), "b": (1, 0.9, 99, False), "c": (1, 0.9, 80, True)}
    assert rank(order, **rows) == "cba"


@pytest.mark.parametrize("order", ORDERS)
def test_of_equals_the_cheaper_then_the_earlier_layer_comes_first(order: Order) -> None:
    gains = {"a": (72, 0.4, 90, True), "b": (72, 0.4, 80, True), "c": (72, 0.4, 80, True)}
    assert rank(order, **gains) == "bca"
    equal = {"a": (60, 0.6, 80, True), "b": (60, 0.6, 80, True)}
    assert rank(order, **equal) == "ab"


@pytest.mark.parametrize("order", ["loss", "accuracy"])
def test_of_equal_losses_the_cheaper_comes_first_too(order: Order) -> None:
    rows = {"a": (60, 0.6, 90, True), "b": (60, 0.6, 60, True), "c": (60, 0.6, 80, True)}
    assert rank(order, **rows) == "bca"


def test_per_resource_gains_come_before_losses_and_the_tiniest_cut_is_not_rewarded() -> None:
    # The unguarded ratio of a, -.02/.005, beats that of b, -.03/.10.
    assert rank("accuracyPerResource", a=(72, 1, 99, True), b=(73, 1, 80, True)) == "ba"
    assert rank("lossPerResource", a=(1, 0.48, 99, True), b=(1, 0.47, 80, True)) == "ba"
    # A gain of .01 for .005 before a loss of .01 for .45.
    assert rank("accuracyPerResource", a=(69, 1, 10, True), b=(71, 1, 99, True)) == "ba"
    assert rank("lossPerResource", a=(1, 0.51, 10, True), b=(1, 0.49, 99, True)) == "ba"


def test_no_change_is_no_loss() -> None:
    rows = {
        "a": (70, 0.5, 99, True),
        "b": (70, 0.5, 60, True),
        "c": (71, 0.4, 99, True),
        "d": (69, 0.6, 20, True),
    }
    for order in PER_RESOURCE:
        assert rank(order, **rows) == "cbad"


def test_the_ratio_is_the_authors_own_and_shown_only_where_it_decides() -> None:
    ranking, candidates, outcomes = made({"a": (66, 0.6, 80, True), "b": (1, -1, 80, True)})
    for order, lost in (("accuracyPerResource", 0.70 - 0.66), ("lossPerResource", 0.6 - 0.5)):
        shown = ranking(order).shown(candidates, outcomes, keep=2)  # type: ignore[arg-type]
        assert shown[0].ratio == pytest.approx((lost + 1e-6) / (100 / 200 - 80 / 200 + 1e-5))
        assert shown[1].ratio is None
    for order in ("accuracy", "loss"):
        shown = ranking(order).shown(candidates, outcomes, keep=2)  # type: ignore[arg-type]
        assert [row.ratio for row in shown] == [None, None]


def test_the_evidence_is_what_was_counted_and_who_is_kept() -> None:
    rows = {"a": (66, 0.6, 80, True), "b": (50, 0.7, 99, False), "c": (99, -1, 80, True)}
    ranking, candidates, outcomes = made(rows)
    by_loss = ranking("loss")
    shown = by_loss.shown(by_loss.sorted(candidates, outcomes), outcomes, keep=3)
    assert [(row.candidate, row.rank, row.kept, row.failed) for row in shown] == [
        ("a", 1, True, False),
        ("b", 2, True, False),
        ("c", 3, False, True),
    ]
    assert [row.reached_target for row in shown] == [True, False, True]
    assert shown[0].sums == {"correct": 66, "total": 100, "loss": 60, "divergence": 60}
    assert shown[0].costs == candidates[0].costs
    one = by_loss.shown(by_loss.sorted(candidates, outcomes), outcomes, keep=1)
    assert [row.kept for row in one] == [True, False, False]


def outcome(correct: int, loss: float) -> Outcome:
    return Outcome(Model(network(), {}), {}, correct / 100, loss)


def test_what_improves_is_strictly_better_by_the_measure_of_the_order() -> None:
    better_loss = outcome(60, 0.4), outcome(70, 0.5)
    better_accuracy = outcome(71, 0.6), outcome(70, 0.5)
    for order in ORDERS:
        assert improves(order, *better_loss) == order.startswith("loss")
        assert improves(order, *better_accuracy) == order.startswith("accuracy")
        assert not improves(order, outcome(70, 0.5), outcome(70, 0.5))


ROWS = st.tuples(
    st.integers(0, 5), st.sampled_from([-1.0, 0.1, 0.5, 0.9]), st.integers(1, 99), st.booleans()
)


@given(st.lists(ROWS, min_size=1, max_size=9), st.integers(1, 9), st.sampled_from(ORDERS))
def test_nothing_kept_is_worse_than_something_dropped(
    rows: list[tuple[int, float, int, bool]], keep: int, order: Order
) -> None:
    ranking, candidates, outcomes = made({f"{i}": row for i, row in enumerate(rows)})
    ranked = ranking(order).sorted(candidates, outcomes)
    assert sorted(one.index for one in ranked) == list(range(len(rows)))
    shown = ranking(order).shown(ranked, outcomes, keep)
    kept = [one for one, row in zip(ranked, shown, strict=True) if row.kept]
    dropped = [one for one, row in zip(ranked, shown, strict=True) if not row.kept]
    alive = [one for one in dropped if outcomes[one.name].failed is None]
    assert len(kept) == min(keep, len(kept) + len(alive))
    for good in kept:
        for bad in alive:
            assert good.reached_target >= bad.reached_target
            if order in ("loss", "accuracy") and good.reached_target == bad.reached_target:
                assert not improves(order, outcomes[bad.name], outcomes[good.name])
