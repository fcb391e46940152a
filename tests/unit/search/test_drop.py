"""How many candidates are trained, and how many go on."""

from __future__ import annotations

from fednas.search._drop import kept_after, screened
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
