import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.data import MIN_SAMPLES, partition
from fednas.errors import DataError


@st.composite
def splits(draw):
    clients = draw(st.integers(1, 40))
    samples = draw(st.integers(MIN_SAMPLES * clients, MIN_SAMPLES * clients + 200))
    classes = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**63 - 1))
    alpha = draw(st.none() | st.floats(0.001, 1000))
    labels = np.random.default_rng(seed).integers(0, classes, samples)
    return labels, clients, alpha, seed


@given(splits())
def test_every_sample_belongs_to_exactly_one_client_and_each_has_two(split):
    labels, clients, alpha, seed = split
    parts = partition(labels, clients, alpha=alpha, seed=seed)
    assert len(parts) == clients
    assert min(map(len, parts)) >= MIN_SAMPLES
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert all((np.diff(part) > 0).all() for part in parts)


@given(splits())
def test_the_same_seed_gives_the_same_partition(split):
    labels, clients, alpha, seed = split
    first = partition(labels, clients, alpha=alpha, seed=seed)
    second = partition(labels, clients, alpha=alpha, seed=seed)
    assert all(map(np.array_equal, first, second))


def test_another_seed_gives_another_partition():
    labels = np.arange(200) % 10
    for alpha in (None, 0.5):
        parts = [partition(labels, 4, alpha=alpha, seed=seed) for seed in (0, 1)]
        assert not all(map(np.array_equal, *parts))


def test_iid_shares_differ_by_at_most_one_sample():
    sizes = [len(part) for part in partition(np.zeros(103, np.int64), 10, seed=0)]
    assert sorted(set(sizes)) == [10, 11]


def test_clients_are_the_less_alike_the_smaller_alpha():
    labels = np.arange(10_000) % 10

    def largest_class_share(alpha):
        parts = partition(labels, 20, alpha=alpha, seed=0)
        return np.mean([np.bincount(labels[part]).max() / len(part) for part in parts])

    shares = [largest_class_share(alpha) for alpha in (0.05, 0.5, 5.0, 500.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.6
    assert shares[-1] < 0.15


def test_ten_thousand_clients_under_the_smallest_alpha_all_get_samples():
    parts = partition(np.arange(20_000) % 10, 10_000, alpha=0.001, seed=0)
    assert {len(part) for part in parts} == {2}


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_too_few_samples_are_refused_with_the_field_to_change(alpha):
    with pytest.raises(DataError, match=r"8 clients need at least 2 .* 15.*spec\.deviceClasses"):
        partition(np.zeros(15, np.int64), 8, alpha=alpha, seed=0)
