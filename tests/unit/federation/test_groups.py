from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fednas.federation import default_group_count, longest_processing_time, round_robin

samples = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}-[0-9]{1,2}", fullmatch=True), st.integers(2, 500), min_size=1
)


@given(samples, st.data())
def test_groups_hold_every_client_once_and_are_never_empty(
    clients: dict[str, int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(clients)))
    for groups in (round_robin(sorted(clients), count), longest_processing_time(clients, count)):
        assert len(groups) == count
        assert all(groups)
        assert sorted(name for group in groups for name in group) == sorted(clients)
        assert all(list(group) == sorted(group) for group in groups)


@given(samples, st.data())
def test_groups_are_balanced(clients: dict[str, int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(clients)))
    sizes = [len(group) for group in round_robin(sorted(clients), count)]
    assert max(sizes) - min(sizes) <= 1
    totals = [
        sum(clients[name] for name in group) for group in longest_processing_time(clients, count)
    ]
    assert max(totals) - min(totals) <= max(clients.values())


@given(samples, st.data())
def test_groups_do_not_depend_on_the_order_of_a_mapping(
    clients: dict[str, int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(clients)))
    shuffled = dict(data.draw(st.permutations(list(clients.items()))))
    assert longest_processing_time(clients, count) == longest_processing_time(shuffled, count)


def test_longest_processing_time_by_hand() -> None:
    clients = {"a": 7, "b": 5, "c": 4, "d": 4, "e": 3}
    # a -> 0 (7); b -> 1 (5); c -> 1 (9); d -> 0 (11); e -> 1 (12)
    assert longest_processing_time(clients, 2) == (("a", "d"), ("b", "c", "e"))


def test_the_default_count_leaves_five_clients_a_group_where_it_can() -> None:
    assert [default_group_count(14, clients) for clients in (1, 4, 9, 12, 80)] == [1, 1, 1, 2, 14]
