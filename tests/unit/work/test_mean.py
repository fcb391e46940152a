from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fednas.work import weighted_mean

floats = st.floats(-1e6, 1e6, width=32)
updates = st.integers(1, 8).flatmap(
    lambda n: st.lists(
        st.tuples(arrays(np.float32, n, elements=floats), st.integers(1, 1000)),
        min_size=1,
        max_size=6,
    )
)


@given(updates)
def test_it_is_numpy_s_average_within_float32(
    pairs: list[tuple[npt.NDArray[np.float32], int]],
) -> None:
    vectors, weights = zip(*pairs, strict=True)
    mean = weighted_mean(pairs)
    assert mean.dtype == np.float32
    wide = np.array(vectors, np.float64)
    np.testing.assert_allclose(
        mean, np.average(wide, axis=0, weights=weights), rtol=2e-7, atol=1e-6
    )
    assert (mean >= np.min(wide, axis=0) - 1e-6).all()
    assert (mean <= np.max(wide, axis=0) + 1e-6).all()


@given(arrays(np.float32, 5, elements=floats), st.integers(1, 9))
def test_one_update_is_its_own_mean_to_the_bit(
    vector: npt.NDArray[np.float32], weight: int
) -> None:
    assert weighted_mean([(vector, weight)]).tobytes() == (vector + np.float32(0)).tobytes()


def test_by_hand_and_inputs_are_left_alone() -> None:
    a, b = np.array([1, 0], np.float32), np.array([4, 3], np.float32)
    assert weighted_mean(iter([(a, 2), (b, 1)])).tolist() == [2, 1]
    assert (a.tolist(), b.tolist()) == ([1, 0], [4, 3])


def test_no_updates_have_no_mean() -> None:
    with pytest.raises(ValueError, match="updates: got none"):
        weighted_mean([])
