from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.search import View, make_ledger
from fednas.store import Record
from tests.unit.search.test_view import recorded


def journal(**values: dict[str, Any]) -> dict[str, Record]:
    return {key: Record(key, value, 0.0) for key, value in values.items()}


def closed(candidate: str, phase: str, number: int, *updates: tuple[str, int]) -> dict[str, Any]:
    """Updates are (client, forward and backward MACs); 10 samples, 4 bytes each way."""
    value = {
        "iteration": 0 if phase == "initial" else 1,
        "phase": phase,
        "candidate": candidate,
        "round": number,
        "missing": [],
        "updates": [
            {"client": c, "macs": macs, "bytesDown": 4, "bytesUp": 4, "trainedSamples": 10}
            for c, macs in updates
        ],
    }
    prefix = "000-initial" if phase == "initial" else f"001/{phase}/{candidate}"
    return {f"{prefix}/{number:02}-closed": value}


START = {
    "spec": {
        "training": {"epochs": 1.0, "batchSize": 5},
        "strategy": {"netAdapt": {"rounds": {"constant": {"pre": 1, "post": 1}}}},
    },
    "clients": {
        "phone-0": {"deviceClass": "phone", "samples": 10},
        "hub-0": {"deviceClass": "hub", "samples": 10},
    },
}
GENERATED = {
    "iteration": 1,
    "candidates": [{"candidate": "x", "macs": 100}, {"candidate": "y", "macs": 60}],
}
DROPPED = {"ranking": [{"candidate": "x", "kept": True}, {"candidate": "y", "kept": False}]}
ROUNDS = {
    **closed("", "initial", 1, ("phone-0", 7), ("hub-0", 8)),
    **closed("x", "pre", 1, ("phone-0", 3 * 100 * 10)),
    **closed("y", "pre", 1, ("hub-0", 3 * 60 * 10)),
    **closed("x", "post", 1, ("hub-0", 3 * 100 * 10)),
}


def test_a_ledger_by_hand() -> None:
    ledger = make_ledger(
        journal(
            **{"000-start": START, "001/generated": GENERATED, "001/dropped": DROPPED}, **ROUNDS
        )
    )
    assert ledger.search.macs == 3000 + 1800 + 3000
    assert (ledger.search.bytes_up, ledger.search.samples, ledger.search.client_rounds) == (
        12,
        30,
        3,
    )
    assert (ledger.initial.macs, ledger.initial.client_rounds) == (15, 2)
    assert {name: cost.macs for name, cost in ledger.clients.items()} == {
        "phone-0": 3000,
        "hub-0": 4800,
    }
    assert {name: cost.macs for name, cost in ledger.device_classes.items()} == {
        "phone": 3000,
        "hub": 4800,
    }
    assert {name: cost.macs for name, cost in ledger.candidates.items()} == {
        "1/x": 6000,
        "1/y": 1800,
    }
    assert ledger.iterations["1"].macs == 7800
    # Naive: both clients (20 samples) train both candidates for 1 + 1 rounds.
    assert ledger.naive_macs == 3 * (100 + 60) * 20 * 2
    # One group a round: 2 * 3000 + 2 * 1800; with early drop y trains once: 7800, as counted.
    assert ledger.factors == pytest.approx(
        {
            "partialClients": 19200 / 9600,
            "earlyDrop": 9600 / 7800,
            "rounds": 1.0,
            "total": 19200 / 7800,
        }
    )


def test_an_iteration_under_way_is_paid_for_but_not_compared() -> None:
    ledger = make_ledger(journal(**{"000-start": START, "001/generated": GENERATED}, **ROUNDS))
    assert ledger.search.macs == 7800
    assert (ledger.naive_macs, ledger.factors) == (0, {})


def test_a_candidate_without_a_quorum_costs_and_compares_nothing() -> None:
    rounds = ROUNDS | closed("y", "pre", 1)
    ledger = make_ledger(
        journal(
            **{"000-start": START, "001/generated": GENERATED, "001/dropped": DROPPED}, **rounds
        )
    )
    assert ledger.search.macs == 6000
    assert ledger.factors["total"] == pytest.approx(3 * 100 * 20 * 2 / 6000)


def test_an_empty_journal_has_cost_nothing() -> None:
    ledger = make_ledger({})
    assert (ledger.search.macs, ledger.naive_macs, ledger.factors) == (0, 0, {})
    assert ledger.to_dict()["search"] == {
        "macs": 0,
        "bytesDown": 0,
        "bytesUp": 0,
        "samples": 0,
        "clientRounds": 0,
    }


@given(st.integers(0, 200))
def test_factors_multiply_to_the_total_and_parts_add_up_at_every_moment(count: int) -> None:
    records = sorted(recorded().values(), key=lambda record: (record.time, record.key))[:count]
    ledger = View(records).ledger
    for parts in (ledger.clients, ledger.device_classes, ledger.iterations, ledger.candidates):
        assert sum(cost.macs for cost in parts.values()) == ledger.search.macs
        assert sum(cost.bytes_up for cost in parts.values()) == ledger.search.bytes_up
    if ledger.factors:
        three = [ledger.factors[name] for name in ("partialClients", "earlyDrop", "rounds")]
        assert math.prod(three) == pytest.approx(ledger.factors["total"])
        assert ledger.factors["partialClients"] >= 1
        assert ledger.factors["earlyDrop"] >= 1
