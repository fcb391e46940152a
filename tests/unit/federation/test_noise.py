"""The mean of clipped updates, and the noise that hides each of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fednas.federation import noised_mean, normal

START = np.linspace(-1, 1, 12, dtype=np.float32)
LEARNT = np.arange(12) % 4 != 3


def mean(*updates: np.ndarray, asked: int = 4, **changes: object) -> np.ndarray:
    settings = {"clip_norm": 1.0, "noise_multiplier": 1.0, "asked": asked, "draw": np.zeros}
    return noised_mean(START, updates, LEARNT, **{**settings, **changes})  # type: ignore[arg-type]


def test_draws_are_standard_normal_into_their_tails() -> None:
    drawn = normal(200_000)
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    assert np.mean(np.abs(drawn) > 3) == pytest.approx(2 * stats.norm.sf(3), rel=0.2)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("byte", [0, 255])
def test_the_largest_and_the_least_random_numbers_give_finite_draws(byte: int) -> None:
    drawn = normal(3, lambda size: bytes([byte]) * size)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() < 2.001 * math.sqrt(2 * 54 * math.log(2))


def test_every_draw_asks_the_system_for_its_own_bits() -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(range(256)) * (size // 256) + bytes(size % 256)

    normal(70_000, urandom)
    assert sum(asked) == 64 * 70_000
    assert not np.array_equal(normal(8), normal(8))


def test_an_update_of_any_length_moves_the_mean_by_the_clip_at_most() -> None:
    long = np.where(LEARNT, 1e30, 0.0).astype(np.float32)
    assert np.linalg.norm(mean(long) - START) == pytest.approx(1 / 4, rel=1e-5)
    short = np.where(LEARNT, 0.01, 0.0).astype(np.float32)
    np.testing.assert_allclose(mean(short) - START, short / 4, atol=1e-7)


@given(
    st.lists(st.lists(st.floats(width=32), min_size=12, max_size=12), max_size=4),
    st.lists(st.floats(width=32), min_size=12, max_size=12),
)
def test_whether_one_client_is_there_moves_the_sum_by_the_clip_at_most(
    others: list[list[float]], one: list[float]
) -> None:
    rest = [np.array(update, np.float32) for update in others]
    without = mean(*rest, asked=5)
    with_it = mean(*rest, np.array(one, np.float32), asked=5)
    moved = np.linalg.norm(with_it.astype(np.float64) - without)
    assert 5 * moved <= 1 + 1e-4


def test_statistics_stay_those_of_the_start_and_get_no_noise() -> None:
    found = mean(np.ones(12, np.float32), draw=np.ones)
    assert (found[~LEARNT] == START[~LEARNT]).all()
    assert (found[LEARNT] != START[LEARNT]).all()


def test_the_noise_is_that_of_the_sum_over_all_who_were_asked() -> None:
    found = mean(clip_norm=3.0, noise_multiplier=5.0, asked=10, draw=np.ones)
    np.testing.assert_allclose((found - START)[LEARNT], 5.0 * 3.0 / 10, rtol=1e-5)
