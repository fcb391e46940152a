"""What leaves a client that is promised privacy."""

from __future__ import annotations

import numpy as np
import pytest

from fednas.work import clipped, learnt

ALL = np.ones(3, np.bool_)


def test_batch_norm_statistics_are_not_learnt() -> None:
    tensors = [("bn.weight", (2,)), ("bn.running_mean", (2,)), ("bn.running_var", (2,)), ("b", ())]
    assert learnt(tensors).tolist() == [True, True, False, False, False, False, True]


@pytest.mark.parametrize("scale", [1e-38, 1.0, 5e37])
def test_direction_is_kept_and_length_bounded(scale: float) -> None:
    update = np.array([3.0, 0.0, 4.0], np.float32) * np.float32(scale)
    found = clipped(update, 0.5e-38, ALL)
    np.testing.assert_allclose(found, np.array([0.3, 0, 0.4]) * 1e-38, rtol=1e-6)


def test_what_is_within_the_norm_is_left_as_it_is() -> None:
    update = np.array([0.1, -0.2, 0.3], np.float32)
    assert (clipped(update, 1.0, ALL) == update).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_what_is_not_finite_and_what_is_nothing_is_no_update(value: float) -> None:
    assert not clipped(np.array([value, 0, 0], np.float32), 1.0, ALL).any()


def test_what_is_not_finite_among_the_statistics_is_no_reason() -> None:
    found = clipped(np.array([1.0, np.nan, 0], np.float32), 2.0, np.array([True, False, True]))
    assert found.tolist() == [1, 0, 0]
