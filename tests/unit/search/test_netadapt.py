"""Candidates of netAdapt: one group of layers each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fednas.models import Architecture
from fednas.search import Candidate
from fednas.search._netadapt import NetAdaptSearch
from fednas.spec import NetAdapt
from tests.unit.search.table import FULL, after, problem
from tests.unit.search.toy import network, space


def generate(network: Architecture, target: float, filter_step: int = 1) -> tuple[Candidate, ...]:
    strategy = NetAdaptSearch(NetAdapt(filter_step=filter_step))
    return strategy.candidates(problem(), 1, network, target)


def test_candidates_are_the_widest_cut_whose_network_meets_the_target() -> None:
    target = FULL - 0.2 * FULL  # 742.4
    found = {c.name: c for c in generate(network(), target)}
    # conv0: 928 - 16 a <= 742.4 at a = 12; conv1, conv2: 32 a, a = 6; conv3: 26 a, a = 8
    assert {name: after(c) for name, c in found.items()} == {
        "conv0": 4,
        "conv1": 10,
        "conv2": 10,
        "conv3": 8,
    }
    assert found["conv1"].costs["macs"] == FULL - 32 * 6
    assert all(c.reached_target for c in found.values())


def test_a_target_is_met_by_what_costs_exactly_as_much() -> None:
    exactly = FULL - 16 * 4
    found = {c.name: c for c in generate(network(), exactly)}
    assert after(found["conv0"]) == 12
    assert found["conv0"].costs["macs"] == exactly
    assert found["conv0"].reached_target


def test_who_cannot_meet_the_target_is_no_candidate_while_another_can() -> None:
    # conv0 saves 15 * 16 = 240 at most; conv1, conv2: 32 a >= 300 at a = 10; conv3: 26 a at 12
    found = generate(network(), FULL - 300)
    assert {c.name: after(c) for c in found} == {"conv1": 6, "conv2": 6, "conv3": 4}


def test_where_nobody_can_each_is_cut_as_far_as_it_goes() -> None:
    found = generate(network(), 10, 4)
    assert [after(c) for c in found] == [4, 4, 4, 4]
    assert not any(c.reached_target for c in found)


def test_what_cannot_shrink_is_no_candidate() -> None:
    found = generate(network(1, 4, 16, 5), 1, 4)
    assert [(c.name, after(c)) for c in found] == [("conv2", 4), ("conv3", 4)]


@given(st.tuples(*[st.integers(1, 24)] * 4), st.sampled_from([1, 2, 4, 8]), st.floats(0, 0.99))
def test_every_candidate_is_smaller_in_one_layer_by_the_least_that_does(
    widths: tuple[int, int, int, int], step: int, share: float
) -> None:
    here = space()
    target = share * here.macs(widths)
    found = generate(network(*widths), target, step)
    assert len({candidate.reached_target for candidate in found}) <= 1
    for candidate in found:
        left, macs = candidate.architecture.widths, candidate.costs["macs"]
        changed = [i for i in range(4) if left[i] != widths[i]]
        assert changed == [candidate.index]
        assert 0 < after(candidate) < widths[candidate.index]
        assert after(candidate) % step == 0
        assert macs == here.macs(left) < here.macs(widths)
        assert candidate.reached_target == (macs <= target)
        wider = after(candidate) + step
        if wider < widths[candidate.index]:
            up = (*left[: candidate.index], wider, *left[candidate.index + 1 :])
            assert here.macs(up) > target
