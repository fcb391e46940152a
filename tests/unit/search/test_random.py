"""Candidates of random search."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fednas.search import AddRung, Cut
from fednas.search._random import RandomSearch
from fednas.spec import Random
from tests.unit.search.table import FULL, of, play, problem, told
from tests.unit.search.toy import network, space

EIGHT = RandomSearch(Random())


def test_candidates_meet_the_target_by_changes_in_several_layers() -> None:
    found = EIGHT.candidates(problem(), 1, network(), 0.8 * FULL)
    assert [c.name for c in found] == [f"random-{index}" for index in range(8)]
    assert [c.index for c in found] == list(range(8))
    for candidate in found:
        assert candidate.reached_target
        assert candidate.costs["macs"] <= 0.8 * FULL
        assert len(candidate.changes) > 1
        assert all(width < 16 for width in candidate.changes.values())
    assert len({c.architecture.widths for c in found}) == 8


def test_they_follow_from_seed_iteration_and_number_alone() -> None:
    first = EIGHT.candidates(problem(), 3, network(), 0.8 * FULL)
    assert RandomSearch(Random()).candidates(problem(), 3, network(), 0.8 * FULL) == first
    fewer = RandomSearch(Random(candidates=3)).candidates(problem(), 3, network(), 0.8 * FULL)
    assert fewer == first[:3]
    assert EIGHT.candidates(problem(), 4, network(), 0.8 * FULL) != first
    other = replace(problem(), seed=12)
    assert EIGHT.candidates(other, 3, network(), 0.8 * FULL) != first


@given(st.tuples(*[st.integers(1, 24)] * 4), st.floats(0, 1), st.integers(1, 1000))
def test_no_layer_grows_and_who_changes_nothing_is_no_candidate(
    widths: tuple[int, int, int, int], share: float, iteration: int
) -> None:
    target = share * space().macs(widths)
    for candidate in EIGHT.candidates(problem(), iteration, network(*widths), target):
        left = candidate.architecture.widths
        assert left != widths
        assert all(1 <= a <= b for a, b in zip(left, widths, strict=True))
        assert candidate.reached_target == (space().macs(left) <= target)


def test_each_iteration_goes_on_from_its_best_down_to_the_budget() -> None:
    steps, ending = play(told({}), strategy="random", candidates=3, maxIterations=10)
    assert ending.reason == "Completed"
    rungs = of(steps, AddRung)
    assert len(rungs) == 3  # 20 %, 18 % and what is left to half
    for rung, following in zip(rungs, of(steps, Cut)[1:], strict=False):
        assert following.parent == rung.outcome.model
    assert space().macs(rungs[-1].outcome.model.architecture.widths) <= 0.5 * FULL
