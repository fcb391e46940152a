from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fednas.federation import Failure
from fednas.models import Model
from fednas.search import Candidate, Outcome
from fednas.search._drop import top_k
from tests.unit.search.toy import network

NETWORK = network()


def candidate(name: str, index: int, macs: int, *, reached: bool = True) -> Candidate:
    return Candidate(
        name=name,
        index=index,
        changes={name: 7},
        architecture=NETWORK,
        costs={"macs": macs, "params": 1},
        reached_target=reached,
    )


def outcome(correct: int, *, failed: bool = False) -> Outcome:
    model = Model(NETWORK, {"weights": f"{correct}"})
    failure = Failure("QuorumMissed", "nobody came") if failed else None
    return Outcome(model, {"correct": correct, "total": 100}, correct / 100, failure)


def test_the_most_accurate_are_kept_in_the_order_of_layers() -> None:
    candidates = [candidate(name, index, 50) for index, name in enumerate("abcd")]
    outcomes = {"a": outcome(40), "b": outcome(70), "c": outcome(60), "d": outcome(65)}
    ranking, kept = top_k(candidates, outcomes, 3)
    assert [c.name for c in kept] == ["b", "c", "d"]
    assert [row.candidate for row in ranking] == ["b", "d", "c", "a"]
    assert [row.kept for row in ranking] == [True, True, True, False]
    assert [row.rank for row in ranking] == [1, 2, 3, 4]


def test_of_equals_the_smaller_then_the_earlier_layer_is_kept() -> None:
    candidates = [candidate("a", 0, 50), candidate("b", 1, 40), candidate("c", 2, 50)]
    _, kept = top_k(candidates, dict.fromkeys("abc", outcome(70)), 2)
    assert [c.name for c in kept] == ["a", "b"]


def test_a_failed_candidate_is_last_and_never_kept() -> None:
    candidates = [candidate("a", 0, 50), candidate("b", 1, 50)]
    ranking, kept = top_k(candidates, {"a": outcome(99, failed=True), "b": outcome(1)}, 2)
    assert [c.name for c in kept] == ["b"]
    assert ranking[1].candidate == "a"
    assert ranking[1].failed


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 3), st.booleans()), min_size=1, max_size=9
    ),
    st.integers(1, 9),
)
def test_nothing_kept_is_less_accurate_than_something_dropped(
    rows: list[tuple[int, int, bool]], keep: int
) -> None:
    candidates = [candidate(f"{i}", i, macs) for i, (_, macs, _) in enumerate(rows)]
    outcomes = {f"{i}": outcome(c, failed=failed) for i, (c, _, failed) in enumerate(rows)}
    ranking, kept = top_k(candidates, outcomes, keep)
    alive = [name for name, o in outcomes.items() if not o.failed]
    assert len(kept) == min(keep, len(alive))
    assert sorted(row.candidate for row in ranking) == sorted(outcomes)
    names = {c.name for c in kept}
    for dropped in set(alive) - names:
        assert all(outcomes[name].score >= outcomes[dropped].score for name in names)
