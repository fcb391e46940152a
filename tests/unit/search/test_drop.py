"""How many candidates are trained, and how many go on."""

from __future__ import annotations

from fednas.search._drop import candidate_rounds, kept_after, screened
from fednas.search._rounds import Plan
from fednas.spec import EarlyDrop, KeepAll, Screening, SuccessiveHalving, TopK


def test_screening_keeps_the_best_k_or_all() -> None:
    top = Screening(top_k=TopK(keep=3))
    assert [screened(top, n) for n in (1, 3, 4, 10)] == [1, 3, 3, 3]
    assert [screened(Screening(none=KeepAll()), n) for n in (1, 10)] == [1, 10]


def test_the_best_k_survive_the_first_phase_and_all_survive_until_its_last_round() -> None:
    drop = EarlyDrop(top_k=TopK(keep=3))
    assert [kept_after(drop, n, last_of_phase=True) for n in (1, 3, 9)] == [1, 3, 3]
    assert [kept_after(drop, n, last_of_phase=False) for n in (1, 3, 9)] == [1, 3, 9]


def test_halving_keeps_the_better_half_after_every_round_but_always_one() -> None:
    drop = EarlyDrop(successive_halving=SuccessiveHalving())
    for last in (True, False):
        assert [kept_after(drop, n, last_of_phase=last) for n in (9, 5, 3, 2, 1)] == [5, 3, 2, 1, 1]


def test_without_early_drop_everybody_survives() -> None:
    drop = EarlyDrop(none=KeepAll())
    assert [kept_after(drop, n, last_of_phase=True) for n in (1, 9)] == [1, 9]


def test_candidates_that_are_dropped_train_no_further_rounds() -> None:
    plan = Plan(pre=2, post=3)
    assert candidate_rounds(plan, EarlyDrop(none=KeepAll()), 5) == (10, 15)
    assert candidate_rounds(plan, EarlyDrop(top_k=TopK(keep=2)), 5) == (10, 6)
    halving = EarlyDrop(successive_halving=SuccessiveHalving())
    assert candidate_rounds(plan, halving, 9) == (9 + 5, 3 + 2 + 1)
    assert candidate_rounds(Plan(0, 0), halving, 9) == (0, 0)
