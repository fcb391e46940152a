"""Thinning every layer alike, or each at a rate of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from fednas.space import LeftOut, Space, thin
from fednas.space._thin import _PARTS

WIDTHS = st.tuples(*[st.integers(1, 40)] * 4)
RATES = st.none() | st.lists(st.floats(0, 1), min_size=4, max_size=4)


def macs(space: Space) -> Callable[[Sequence[int]], int]:
    return space.macs


def named(space: Space, rates: list[float] | None) -> dict[str, float] | None:
    names = [group.name for group in space.groups]
    return None if rates is None else dict(zip(names, rates, strict=True))


def at(space: Space, widths: Sequence[int], parts: int, rates: list[float] | None) -> list[int]:
    """Widths at a share of the way, by the definition."""
    found = list(widths)
    for index, group in enumerate(space.groups):
        share = 1 - parts / _PARTS * (rates[index] if rates else 1.0)
        found[group.choice] = max(1, int(widths[group.choice] * share + 0.5))
    return found


@given(WIDTHS, st.floats(0, 1.2), RATES)
def test_it_meets_the_limit_where_that_can_be_met_and_is_never_wider(
    traced: Callable[[str, int], Space],
    widths: tuple[int, ...],
    share: float,
    rates: list[float] | None,
) -> None:
    space = traced("cnn", 8)
    limit = share * space.macs(widths)
    found = thin(space, widths, space.macs, limit, named(space, rates))
    assert all(1 <= after <= before for after, before in zip(found, widths, strict=True))
    if space.macs(at(space, widths, _PARTS, rates)) <= limit:
        assert space.macs(found) <= limit
    else:
        assert list(found) == at(space, widths, _PARTS, rates)


@given(WIDTHS, st.floats(0.05, 1), RATES)
def test_it_is_the_widest_one_part_less_and_the_limit_is_passed(
    traced: Callable[[str, int], Space],
    widths: tuple[int, ...],
    share: float,
    rates: list[float] | None,
) -> None:
    space = traced("cnn", 8)
    limit = share * space.macs(widths)
    found = thin(space, widths, space.macs, limit, named(space, rates))
    # Bisect for the first part of the way that gives it; the one before is wider.
    low, high = 0, _PARTS
    while low < high:
        middle = (low + high) // 2
        if all(a <= b for a, b in zip(at(space, widths, middle, rates), found, strict=True)):
            high = middle
        else:
            low = middle + 1
    assert at(space, widths, low, rates) == list(found)
    if low:
        assert space.macs(at(space, widths, low - 1, rates)) > limit


@given(WIDTHS, st.floats(0, 1), st.floats(0, 1), RATES)
def test_a_larger_limit_never_gives_a_narrower_layer(
    traced: Callable[[str, int], Space],
    widths: tuple[int, ...],
    one: float,
    other: float,
    rates: list[float] | None,
) -> None:
    space = traced("cnn", 8)
    low, high = (
        thin(space, widths, space.macs, share * space.macs(widths), named(space, rates))
        for share in sorted((one, other))
    )
    assert all(a <= b for a, b in zip(low, high, strict=True))


def test_alike_means_the_same_share_of_each_layer_by_hand(
    traced: Callable[[str, int], Space],
) -> None:
    space = traced("cnn", 8)
    start = space.start.widths
    total = sum(start)
    half = thin(space, start, sum, total / 2)
    assert half == tuple(width // 2 for width in start)  # all are even
    assert sum(thin(space, start, sum, total / 2 - 1)) < total / 2
    assert thin(space, start, sum, total) == start
    assert thin(space, start, sum, 0) == (1,) * len(start)


def test_a_layer_of_rate_nought_keeps_its_filters(traced: Callable[[str, int], Space]) -> None:
    space = traced("cnn", 8)
    names = [group.name for group in space.groups]
    rates = dict.fromkeys(names, 1.0) | {names[1]: 0.0}
    found = thin(space, space.start.widths, space.macs, 0, rates)
    expected = [1] * len(names)
    expected[1] = space.start.widths[1]
    assert list(found) == expected


def test_a_group_that_was_left_out_keeps_its_width(traced: Callable[[str, int], Space]) -> None:
    whole = traced("cnn", 8)
    first, *others = whole.groups
    left = LeftOut(name=first.name, choice=first.choice, width=first.width, reason="tied")
    space = whole.model_copy(update={"groups": tuple(others), "left_out": (left,)})
    found = thin(space, space.start.widths, space.macs, 0.3 * space.macs(space.start.widths))
    assert found[first.choice] == first.width
    assert found[others[0].choice] < others[0].width
