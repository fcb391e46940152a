"""How many rounds candidates train."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fednas.search._rounds import Plan, plan_of
from fednas.spec import AdaptiveRounds, ConstantRounds, GrowingRounds, Rounds


def test_constant_rounds_are_the_same_everywhere() -> None:
    rounds = Rounds(constant=ConstantRounds(pre=2, post=3))
    assert {plan_of(rounds, progress) for progress in (0, 0.4, 1)} == {Plan(2, 3)}


def test_growing_rounds_grow_in_proportion_to_the_way_that_was_gone() -> None:
    rounds = Rounds(growing=GrowingRounds(pre=2, post_min=1, post_max=5))
    found = [plan_of(rounds, progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert found == [Plan(2, 1), Plan(2, 2), Plan(2, 3), Plan(2, 4), Plan(2, 5)]


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_growing_rounds_never_shrink_nor_leave_their_bounds(
    low: int, more: int, early: float, late: float
) -> None:
    rounds = Rounds(growing=GrowingRounds(post_min=low, post_max=low + more))
    early, late = sorted((early, late))
    assert low <= plan_of(rounds, early).post <= plan_of(rounds, late).post <= low + more


def test_adaptive_rounds_end_when_the_leader_has_stayed_for_as_long_as_patience() -> None:
    plan = plan_of(Rounds(adaptive=AdaptiveRounds(pre=1, post_max=9, patience=2)), 0.3)
    assert (plan.pre, plan.post) == (1, 9)
    assert not plan.enough(["a"])
    assert not plan.enough(["a", "a"])
    assert plan.enough(["a", "a", "a"])
    assert not plan.enough(["a", "a", "b"])
    assert not plan.enough(["a", "a", "b", "b"])
    assert plan.enough(["a", "a", "b", "b", "b"])


def test_others_never_end_early() -> None:
    assert not Plan(1, 9).enough(["a"] * 9)


@given(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5))
def test_the_shortest_plan_ends_where_one_leader_is_enough(
    pre: int, post: int, patience: int
) -> None:
    plan = Plan(pre, post, patience)
    ends = (n for n in range(1, post + 1) if n == post or plan.enough(["a"] * (pre + n)))
    assert plan.shortest.post == next(ends)
    assert plan.shortest.pre == pre
    assert Plan(pre, post).shortest == Plan(pre, post)
