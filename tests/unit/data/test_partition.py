import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.data import MIN_SAMPLES, partition
from fednas.errors import DataError
from fednas.spec import Partition

IID = Partition.model_validate({"iid": {}})


def dirichlet(alpha):
    return Partition.model_validate({"dirichlet": {"alpha": alpha}})


def shards(per_client):
    return Partition.model_validate({"shards": {"perClient": per_client}})


def quantity_skew(alpha):
    return Partition.model_validate({"quantitySkew": {"alpha": alpha}})


USER = Partition.model_validate({"column": {"name": "user"}})


def cut(how, labels, clients, *, seed=0, values=None):
    return partition(how, labels, clients, seed=seed, values=values)


@st.composite
def splits(draw):
    """A partition, labels, clients, values and a seed that go together."""
    clients = draw(st.integers(1, 40))
    samples = draw(st.integers(MIN_SAMPLES * clients, MIN_SAMPLES * clients + 200))
    classes = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**63 - 1))
    alphas = st.floats(0.001, 1000)
    how = draw(
        st.sampled_from([IID, USER])
        | alphas.map(dirichlet)
        | alphas.map(quantity_skew)
        | st.integers(1, samples // clients).map(shards)
    )
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    # Every client can be given two samples of a value, whatever the rest are.
    values = rng.permutation(
        np.concatenate(
            [
                np.repeat(np.arange(clients), 2),
                rng.integers(0, clients, samples - 2 * clients),
            ]
        )
    )
    return how, labels, clients, values, seed


@given(splits())
def test_every_sample_belongs_to_exactly_one_client_and_each_has_two(split):
    how, labels, clients, values, seed = split
    parts = cut(how, labels, clients, seed=seed, values=values)
    assert len(parts) == clients
    assert min(map(len, parts)) >= MIN_SAMPLES
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)


@given(splits())
def test_the_same_seed_gives_the_same_partition(split):
    how, labels, clients, values, seed = split
    first = cut(how, labels, clients, seed=seed, values=values)
    second = cut(how, labels, clients, seed=seed, values=values)
    assert all(map(np.array_equal, first, second))


@pytest.mark.parametrize(
    "how", [IID, USER, dirichlet(0.5), shards(2), quantity_skew(0.5)], ids=lambda h: h.chosen[0]
)
def test_another_seed_gives_another_partition(how):
    labels = np.arange(200) % 10
    parts = [cut(how, labels, 4, seed=seed, values=np.arange(200) % 25) for seed in (0, 1)]
    assert not all(map(np.array_equal, *parts))


def test_iid_shares_differ_by_at_most_one_sample():
    sizes = [len(part) for part in cut(IID, np.zeros(103, np.int64), 10)]
    assert sorted(set(sizes)) == [10, 11]


def test_clients_are_the_less_alike_the_smaller_alpha():
    labels = np.arange(10_000) % 10

    def largest_class_share(alpha):
        parts = cut(dirichlet(alpha), labels, 20)
        return np.mean([np.bincount(labels[part]).max() / len(part) for part in parts])

    shares = [largest_class_share(alpha) for alpha in (0.05, 0.5, 5.0, 500.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.6
    assert shares[-1] < 0.15


@pytest.mark.parametrize("how", [dirichlet(0.001), quantity_skew(0.001)])
def test_ten_thousand_clients_under_the_smallest_alpha_all_get_samples(how):
    parts = cut(how, np.arange(20_000) % 10, 10_000)
    assert {len(part) for part in parts} == {2}


@pytest.mark.parametrize("how", [IID, dirichlet(0.5), shards(1), quantity_skew(1), USER])
def test_too_few_samples_are_refused_with_the_field_to_change(how):
    with pytest.raises(DataError, match=r"8 clients need at least 2 .* 15.*spec\.deviceClasses"):
        cut(how, np.zeros(15, np.int64), 8, values=np.arange(15))


# --- shards of sorted labels ---------------------------------------------------------------------


def test_two_shards_give_most_clients_two_labels_and_all_the_same_size():
    """McMahan et al., arXiv 1602.05629, section 3: 100 clients, 200 shards of 300 digits."""
    labels = np.random.default_rng(0).permutation(np.arange(60_000) % 10)
    parts = cut(shards(2), labels, 100)
    assert {len(part) for part in parts} == {600}
    held = [len(np.unique(labels[part])) for part in parts]
    assert set(held) == {1, 2}
    assert held.count(2) > 70


def test_with_one_shard_a_client_holds_one_label():
    labels = np.arange(1000) % 10
    assert {len(np.unique(labels[part])) for part in cut(shards(1), labels, 10)} == {1}


def test_many_shards_make_the_clients_alike():
    labels = np.arange(1000) % 10
    assert {len(np.unique(labels[part])) for part in cut(shards(100), labels, 10)} == {10}


def test_more_shards_than_samples_are_refused_with_the_largest_number():
    with pytest.raises(
        DataError, match=r"perClient: got 6; 10 clients need 60 shards.* 59 .*at most 5$"
    ):
        cut(shards(6), np.zeros(59, np.int64), 10)


# --- values of a column --------------------------------------------------------------------------


@given(splits())
def test_no_value_is_cut_in_two(split):
    _, labels, clients, values, seed = split
    parts = cut(USER, labels, clients, seed=seed, values=values)
    held = [value for part in parts for value in np.unique(values[part])]
    assert len(held) == len(set(held)) == len(np.unique(values))


def test_the_largest_values_go_first_each_to_the_client_with_the_fewest_samples():
    values = np.repeat(np.arange(6), [50, 30, 20, 15, 10, 5])
    parts = cut(USER, np.zeros(130, np.int64), 3, values=values)
    held = sorted(tuple(np.unique(values[part])) for part in parts)
    assert held == [(0,), (1, 4), (2, 3, 5)]


def test_fewer_values_than_clients_are_refused():
    with pytest.raises(
        DataError, match=r"partition\.column\.name: .* 3 values of 'user', and there are 4 clients"
    ):
        cut(USER, np.zeros(90, np.int64), 4, values=np.arange(90) % 3)


def test_values_that_leave_a_client_with_one_sample_are_refused():
    with pytest.raises(
        DataError, match=r"column\.name: the values of 'user' leave a client with 1 training sample"
    ):
        cut(USER, np.zeros(5, np.int64), 2, values=np.array([0, 0, 0, 0, 1]))


# --- sizes that differ ---------------------------------------------------------------------------


def test_sizes_are_the_less_alike_the_smaller_alpha_and_labels_are_mixed_as_ever():
    labels = np.arange(20_000) % 10

    def largest_share(alpha):
        return max(map(len, cut(quantity_skew(alpha), labels, 20))) / len(labels)

    shares = [largest_share(alpha) for alpha in (0.05, 0.5, 5.0, 500.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.3
    assert shares[-1] < 0.06
    for part in cut(quantity_skew(0.5), labels, 20):
        if len(part) > 1000:
            assert np.bincount(labels[part]).max() / len(part) < 0.15
