"""The strategy that does not search."""

from __future__ import annotations

from fednas.search import AddRung, Cut, Decide, Train
from fednas.search._uniform import UniformSearch
from fednas.space import thin
from fednas.spec import Uniform
from tests.unit.search.table import FULL, of, play, problem, told
from tests.unit.search.toy import network, space

NOBODY = {"constant": {"pre": 0, "post": 0}}


def test_its_one_candidate_is_the_start_thinned_alike() -> None:
    (found,) = UniformSearch(Uniform()).candidates(problem(), 1, network(), 0.8 * FULL)
    # 3 w^2 + 10 w <= 742.4 at w = 14: 728
    assert found.changes == dict.fromkeys(("conv0", "conv1", "conv2", "conv3"), 14)
    assert found.reached_target


def test_it_thins_the_start_and_not_what_was_rounded_before() -> None:
    uneven = network(16, 8, 16, 16)
    (found,) = UniformSearch(Uniform()).candidates(problem(), 2, uneven, 0.2 * FULL)
    assert found.architecture.widths == thin(
        space(), (16, 16, 16, 16), lambda widths: space().macs(widths), 0.2 * FULL
    )
    assert len(set(found.architecture.widths)) == 1


def test_where_nothing_can_change_there_is_no_candidate() -> None:
    assert UniformSearch(Uniform()).candidates(problem(), 1, network(), FULL) == ()
    steps, ending = play(told({}), strategy="uniform", budget=0.001, maxIterations=100)
    assert ending.reason == "BudgetNotReachable"
    assert of(steps, AddRung)[-1].outcome.model.architecture.widths == (1, 1, 1, 1)


def test_its_ladder_has_rungs_of_equal_widths_without_any_client() -> None:
    steps, ending = play(told({}), strategy="uniform", maxIterations=10, rounds=NOBODY)
    assert ending.reason == "Completed"
    assert {type(step) for step in steps} == {Cut, Decide, AddRung}
    widths = [rung.outcome.model.architecture.widths for rung in of(steps, AddRung)]
    # 742.4, 742.4 - .18 * 928 = 560.96 (of what it came to: 728), then the budget, 464
    assert widths == [(14,) * 4, (12,) * 4, (10,) * 4]


def test_it_trains_as_many_rounds_as_it_is_told() -> None:
    rounds = {"constant": {"pre": 2, "post": 1}}
    steps, _ = play(told({}), strategy="uniform", maxIterations=1, rounds=rounds)
    assert [(step.id.phase, step.id.number) for step in of(steps, Train)] == [
        ("pre", 1),
        ("pre", 2),
        ("post", 1),
    ]
