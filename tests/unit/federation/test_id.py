from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import Corrupt
from fednas.federation import INITIAL, RoundId

ids = st.builds(
    RoundId,
    st.integers(0, 20_000),
    st.sampled_from([INITIAL, "pre", "post"]),
    st.sampled_from(["", "conv1", "block5.pointwise"]),
    st.integers(0, 10_000),
)


@given(ids)
def test_a_rounds_key_is_read_back(id: RoundId) -> None:
    assert RoundId.parse(id.key) == id


@given(ids, ids)
def test_two_rounds_never_share_a_key(one: RoundId, other: RoundId) -> None:
    assert (one.key == other.key) == (one == other)


def test_keys_by_hand() -> None:
    assert RoundId(3, "pre", "conv1", 2).key == "0003/pre/conv1/02"
    assert RoundId(0, INITIAL, "", 60).key == "0000/initial/60"
    assert RoundId(12345, "post", "", 123).key == "12345/post/123"


def test_iterations_beyond_999_sort_as_numbers() -> None:
    ids = [RoundId(iteration, "pre", "conv1", 1) for iteration in (9, 10, 99, 100, 999, 1000, 9999)]
    assert sorted(ids) == ids
    assert sorted(id.key for id in ids) == [id.key for id in ids]


def test_ids_sort_as_numbers_where_their_keys_no_longer_do() -> None:
    ids = [
        RoundId(9999, "pre", "", 99),
        RoundId(9999, "pre", "", 100),
        RoundId(10_000, "pre", "", 1),
    ]
    assert sorted(ids) == ids
    assert sorted(id.key for id in ids) != [id.key for id in ids]


def test_the_same_round_of_another_candidate_differs_in_nothing_else() -> None:
    assert RoundId(3, "pre", "conv1", 2).of("conv2") == RoundId(3, "pre", "conv2", 2)


@pytest.mark.parametrize("key", ["", "1", "a/b/c", "1/2/3/4/5", "x/pre/conv/01", "0001/pre/conv/x"])
def test_what_names_no_round_is_corrupt(key: str) -> None:
    with pytest.raises(Corrupt, match="names no round"):
        RoundId.parse(key)
