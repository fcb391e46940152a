"""How far a winner is ahead, and by how much that may be chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.search import Lead, Led


def led(by: str, **sums: float) -> Led:
    known = {"difference": 0.0, "squares": 0.0, "won": 0.0, "lost": 0.0}
    entry = {"winner": "a", "runner_up": "b", "by": by, "sums": known | sums}
    return Led.model_validate({"iteration": 1, **entry})


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=40))
def test_of_losses_it_is_the_mean_difference_with_its_standard_error(found: list[float]) -> None:
    values = np.array(found)
    total, squares = float(values.sum()), float((values**2).sum())
    lead = Lead.of(led("loss", difference=total, squares=squares, samples=len(found)))
    assert lead is not None
    assert lead.mean == pytest.approx(values.mean())
    assert lead.error == pytest.approx(values.std(ddof=1) / math.sqrt(len(found)), abs=1e-6)


def test_of_accuracies_it_is_that_of_the_images_that_one_alone_gets_right() -> None:
    # What the losses say is another matter.
    lead = Lead.of(led("accuracy", difference=-9, squares=99, won=30, lost=10, samples=800))
    values = np.array([1] * 30 + [-1] * 10 + [0] * 760)
    assert lead is not None
    assert lead.mean == pytest.approx(20 / 800)
    assert lead.error == pytest.approx(values.std(ddof=1) / math.sqrt(800))
    assert lead.error == pytest.approx(math.sqrt(40) / 800, rel=0.01)  # McNemar's
    assert lead.is_sure


def test_it_is_sure_beyond_two_standard_errors_and_only_if_the_winner_is_ahead() -> None:
    assert Lead(0.21, 0.1).is_sure
    assert not Lead(0.2, 0.1).is_sure
    assert not Lead(-0.3, 0.1).is_sure
    assert not Lead(0.0, 0.0).is_sure


def test_a_single_image_tells_of_no_chance() -> None:
    assert Lead.of(led("loss", difference=3, squares=9, samples=1)) is None
