"""A plan of the small search, beside what it has come to cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednas import plan
from fednas.errors import BadInput
from fednas.planning import Plan, _middle_cut
from fednas.search import View
from fednas.spec import load_spec
from tests.unit.tracking.conftest import recorded, recorded_search


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(recorded_search(), workers=2)


def test_the_small_search_costs_what_was_planned(planned: Plan) -> None:
    """Its leaders stayed the same in each iteration, so the range's low end is what to expect."""
    ledger, found = View(recorded()).ledger, planned.forecast
    least, most = found.least.search, found.most.search
    assert least.macs == pytest.approx(ledger.search.macs, rel=0.2)
    assert least.bytes_down == pytest.approx(ledger.search.bytes_down, rel=0.2)
    assert least.bytes_up == pytest.approx(ledger.search.bytes_up, rel=0.2)
    assert least.macs < most.macs < 1.5 * ledger.search.macs
    assert found.naive_macs == pytest.approx(ledger.naive_macs, rel=0.2)
    assert found.initial.macs == ledger.initial.macs
    assert found.initial.bytes_up == pytest.approx(ledger.initial.bytes_up, rel=0.001)


def test_more_workers_take_less_time(planned: Plan) -> None:
    least, most = planned.seconds
    assert 0 < least < most
    twice = plan(recorded_search(), workers=2, clock=iter(range(99)).__next__)
    once = plan(recorded_search(), workers=1, clock=iter(range(99)).__next__)
    assert once.seconds == pytest.approx([2 * one for one in twice.seconds])


def test_a_network_is_taught_by_one_worker_and_the_next_stage_waits() -> None:
    search = load_spec(
        recorded_search().to_dict(), ("distillation.steps=9", "finalTraining.rungs=largest")
    )
    once, twice = (
        plan(search, workers=workers, clock=iter(range(99)).__next__) for workers in (1, 2)
    )
    first, second = twice.forecast.lessons
    assert (len(first), len(second)) == (1, 1), "nothing that two could share"
    assert twice.seconds[0] > 1.01 * once.seconds[0] / 2


def test_what_is_timed_is_cut_as_the_search_would(planned: Plan) -> None:
    """Clients train candidates of the small search, so each is cut from the rung before it."""
    found = planned.forecast
    start, half = found.iterations[0].candidates[0].architecture, len(found.iterations) // 2
    parent, child = _middle_cut(start, found)
    assert parent == found.iterations[half - 1].network
    assert child in [one.architecture for one in found.iterations[half].candidates]
    untrained = [replace(one, planned={"pre": 0, "post": 0}) for one in found.iterations]
    assert _middle_cut(start, replace(found, iterations=tuple(untrained))) == (start, child)
    assert _middle_cut(start, replace(found, iterations=())) == (start, start)


def test_data_in_a_cluster_cannot_be_planned_from_here() -> None:
    with pytest.raises(BadInput, match=r"spec\.data\.source: got s3://.*give a local copy"):
        plan(recorded_search(), data="s3://bucket/data")
