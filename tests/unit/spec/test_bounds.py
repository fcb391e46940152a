"""Targets and budgets: what they bound, in which words, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.spec import Bound, load_spec

from .test_load import SMALLEST, problems


def test_target_and_budget_name_the_resource_that_they_bound() -> None:
    spec = load_spec(SMALLEST, ["deviceClasses.hub.budget.macs.share=0.7"]).spec
    assert spec.target.bound == Bound("macs", 0.6)
    assert spec.device_classes[0].bound is None
    assert spec.device_classes[1].bound == Bound("macs", 0.7)


@pytest.mark.parametrize(
    ("target", "bound"),
    [
        ("{macs: {absolute: 1000}}", Bound("macs", amount=1000)),
        ("{params: {share: 0.25}}", Bound("params", 0.25)),
        ("{params: {absolute: 4200000}}", Bound("params", amount=4.2e6)),
        ("{memory: {share: 0.5}}", Bound("memory", 0.5)),
        ("{memory: {absolute: 48Mi}}", Bound("memory", amount=48 * 2**20)),
        ("{memory: {absolute: 50000}}", Bound("memory", amount=50000)),
    ],
)
def test_a_target_is_a_share_or_an_amount(target: str, bound: Bound) -> None:
    assert load_spec(SMALLEST, [f"target={target}"]).spec.target.bound == bound


def test_a_latency_is_that_of_a_class_in_nanoseconds() -> None:
    sets = [
        "target={latency: {deviceClass: hub, milliseconds: 2.5}}",
        "deviceClasses.hub.latencyTable=hub.csv",
        "deviceClasses.hub.budget={latency: {share: 0.8}}",
    ]
    spec = load_spec(SMALLEST, sets).spec
    assert spec.target.bound == Bound("latency.hub", amount=2_500_000)
    assert spec.device_classes[1].bound == Bound("latency.hub", 0.8)


BOTH = "must hold exactly one of share, absolute"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "target={macs: {share: 0.5}, params: {share: 0.5}}",
            "target: got macs, params; must hold exactly one of macs, params, memory, latency",
        ),
        (
            "target={params: {share: 0.5, absolute: 9}}",
            f"target.params: got share, absolute; {BOTH}",
        ),
        ("target={macs: {}}", f"target.macs: got none; {BOTH}"),
        (
            "target={params: {absolute: 0.5}}",
            "target.params.absolute: got 0.5; must be a whole number",
        ),
        (
            "target={memory: {absolute: 512m}}",
            "target.memory.absolute: got '512m'; must be a quantity of 1Ki to 16Ti",
        ),
        ("target={memory: {share: 1}}", "target.memory.share: got 1; must be less than 1"),
        (
            "target={latency: {deviceClass: hub, share: 0.5}}",
            "target.latency.deviceClass: got 'hub'; must be a class in deviceClasses that has a "
            "latencyTable",
        ),
        (
            "deviceClasses.hub.budget={latency: {milliseconds: 3}}",
            "deviceClasses[1].budget.latency: got a mapping; needs the latencyTable of this class: "
            "fednas measure-latency writes one",
        ),
        (
            "deviceClasses.hub.latencyTable=http://host/table.csv",
            "deviceClasses[1].latencyTable: got 'http://host/table.csv'; must be a path or "
            "s3://bucket/key",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_field(override: str, line: str) -> None:
    assert problems(SMALLEST, override) == [f"spec.{line}"]


def test_a_latency_is_a_share_or_milliseconds() -> None:
    table = "deviceClasses.hub.latencyTable=hub.csv"
    for given_ in ("", ", share: 0.5, milliseconds: 3"):
        (line,) = problems(SMALLEST, table, f"target={{latency: {{deviceClass: hub{given_}}}}}")
        assert line == (
            "spec.target.latency: got a mapping; must hold exactly one of share, milliseconds"
        )


def test_an_amount_below_the_targets_is_a_warning_in_its_own_unit() -> None:
    sets = [
        "target={latency: {deviceClass: hub, milliseconds: 5}}",
        "deviceClasses.hub.latencyTable=hub.csv",
        "deviceClasses.hub.budget={latency: {milliseconds: 2.5}}",
    ]
    (line,) = load_spec(SMALLEST, sets).spec.warnings()
    assert line == (
        "spec.deviceClasses[1].budget.latency.milliseconds: 2.5 is below "
        "spec.target.latency.milliseconds 5: no network for hub may come out; a target of at most "
        "2.5 would do"
    )


@pytest.mark.parametrize(
    "budget",
    ["{params: {share: 0.1}}", "{macs: {absolute: 10}}", "{memory: {absolute: 1Mi}}"],
)
def test_what_cannot_be_compared_with_the_target_is_no_warning(budget: Any) -> None:
    assert load_spec(SMALLEST, [f"deviceClasses.hub.budget={budget}"]).spec.warnings() == []


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_a_network_that_costs_the_very_amount_is_within_it(amount: int, full: int) -> None:
    share = Bound("macs", amount=amount).share_of(full)
    assert amount <= share * full
    assert amount / full <= share
    assert amount + 1 > share * full


def test_a_share_is_taken_as_it_is() -> None:
    assert Bound("macs", 0.3).share_of(7) == 0.3
