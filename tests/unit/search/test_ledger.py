from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.federation import COUNTS, RoundId, Updates
from fednas.search import Closed, Dropped, Generated, Ledger, Ranked, Started, View, Won
from fednas.search._parts import ClientInfo, Offered, Reason, Totals
from fednas.store import digest_of
from tests.unit.search.toy import network
from tests.unit.tracking.conftest import recorded, updates

CLIENTS = ("hub-0", "phone-0")
TABLES: dict[str, bytes] = {}

START = Started(
    name="hand",
    spec={},
    numerics={},
    data="",
    input=(1, 8, 8),
    classes=10,
    floor=0.1,
    tested=False,
    architecture=network(),
    costs={"macs": 100},
    layers=(),
    left_out=(),
    groups=(("hub-0",), ("phone-0",)),
    clients={name: ClientInfo(device_class=name[:-2], samples=10) for name in CLIENTS},
    phases=("initial", "cut", "pre", "post", "final"),
    round_samples=20,
)


def offered(name: str, macs: int) -> Offered:
    return Offered(
        name=name, changes={}, costs={"macs": macs}, reached_target=True, architecture=network()
    )


GENERATED = Generated(
    iteration=1,
    costs={"macs": 100},
    resource="macs",
    target=90,
    planned={"pre": 1, "post": 1},
    candidates=(offered("x", 100), offered("y", 60)),
)


def closed(candidate: str, phase: str, number: int, **macs: int) -> Closed:
    """Updates are client -> forward and backward MACs; 10 samples, 4 bytes each way."""
    id = RoundId({"initial": 0, "final": 2}.get(phase, 1), phase, candidate, number)
    clients = [name.replace("_", "-") for name in sorted(macs)]
    columns: dict[str, Any] = {"samples": 10, "trained": 10, "bytes_down": 4, "bytes_up": 4}
    table = Updates(
        clients=np.array([CLIENTS.index(name) for name in clients], np.int32),
        digests={"weights": [digest_of(name.encode()) for name in clients]},
        counts={
            name: np.array(
                [macs[k] for k in sorted(macs)] if name == "macs" else [columns[name]] * len(macs),
                np.int64,
            )
            for name in COUNTS
        },
        metrics={},
    )
    digest = digest_of(table.encode())
    TABLES[digest] = table.encode()
    n = len(clients)
    return Closed(
        id=id,
        updates=digest if n else None,
        totals=Totals(
            clients=n, trained=10 * n, macs=sum(macs.values()), bytes_down=4 * n, bytes_up=4 * n
        ),
        metrics={},
        missing=(),
        failure=None if n else Reason(reason="QuorumMissed", message="nobody"),
    )


def row(name: str, *, kept: bool, failed: bool = False) -> Ranked:
    return Ranked(candidate=name, score=0, sums={}, costs={}, rank=1, kept=kept, failed=failed)


DROPPED = Dropped(id=RoundId(1, "pre", "", 1), ranking=(row("x", kept=True), row("y", kept=False)))
WON = Won(iteration=1, winner="x", ranking=(row("x", kept=True),))
INITIAL = closed("", "initial", 1, phone_0=7, hub_0=8)
X1 = closed("x", "pre", 1, phone_0=3 * 100 * 10)
Y1 = closed("y", "pre", 1, hub_0=3 * 60 * 10)
X2 = closed("x", "post", 1, hub_0=3 * 100 * 10)


def ledger_of(*entries: Any) -> Ledger:
    ledger = Ledger()
    for entry in entries:
        match entry:
            case Started():
                ledger.start(entry)
            case Generated():
                ledger.generate(entry)
            case Closed():
                ledger.close(entry)
            case Dropped():
                ledger.drop(entry)
            case Won():
                ledger.win(entry)
    ledger.tally(TABLES.__getitem__)
    return ledger


def test_a_ledger_by_hand() -> None:
    ledger = ledger_of(START, INITIAL, GENERATED, X1, Y1, DROPPED, X2, WON)
    search = ledger.search
    assert search.macs == 3000 + 1800 + 3000
    assert (search.bytes_up, search.samples, search.client_rounds) == (12, 30, 3)
    assert (ledger.initial.macs, ledger.initial.client_rounds) == (15, 2)
    clients = ledger.clients.of_clients()
    assert {name: cost.macs for name, cost in clients.items()} == {"hub-0": 4800, "phone-0": 3000}
    classes = ledger.clients.of_classes()
    assert {name: cost.macs for name, cost in classes.items()} == {"hub": 4800, "phone": 3000}
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
            "screening": 1.0,
            "earlyDrop": 9600 / 7800,
            "rounds": 1.0,
            "total": 19200 / 7800,
        }
    )


def test_what_was_never_trained_is_compared_by_what_a_group_of_mean_size_would_have_paid() -> None:
    three = GENERATED.model_copy(update={"candidates": (*GENERATED.candidates, offered("z", 40))})
    rows = (row("x", kept=True), row("y", kept=True), row("z", kept=False))
    screened = Dropped(id=RoundId(1, "cut", "", 0), ranking=rows)
    ledger = ledger_of(START, three, screened, X1, Y1, DROPPED, X2, WON)
    # z would have taken 3 * 40 * 20 / 2 of one of the two groups in each of 1 + 1 rounds: 2400.
    naive, partial = 3 * (100 + 60 + 40) * 20 * 2, 9600 + 2400
    assert ledger.search.macs == 7800
    assert ledger.naive_macs == naive == 24000
    assert ledger.factors == pytest.approx(
        {
            "partialClients": naive / partial,
            "screening": partial / 9600,
            "earlyDrop": 9600 / 7800,
            "rounds": 1.0,
            "total": naive / 7800,
        }
    )


def test_rounds_that_were_planned_and_not_needed_are_saved() -> None:
    planned = GENERATED.model_copy(update={"planned": {"pre": 1, "post": 3}})
    ledger = ledger_of(START, planned, X1, Y1, DROPPED, X2, WON)
    # x and y would have trained 1 + 3 rounds; y was dropped after one, x stopped after two.
    assert ledger.naive_macs == 3 * (100 + 60) * 20 * 4
    assert ledger.factors == pytest.approx(
        {
            "partialClients": 2.0,
            "screening": 1.0,
            "earlyDrop": (4 * 3000 + 4 * 1800) / (4 * 3000 + 1800),
            "rounds": (4 * 3000 + 1800) / (2 * 3000 + 1800),
            "total": 3 * (100 + 60) * 20 * 4 / 7800,
        }
    )


def test_where_nobody_trains_nothing_is_paid_and_there_are_no_factors() -> None:
    free = GENERATED.model_copy(update={"planned": {"pre": 0, "post": 0}})
    ledger = ledger_of(START, free, WON)
    assert (ledger.search.macs, ledger.naive_macs, ledger.factors) == (0, 0, {})


def test_the_final_training_is_told_apart_and_is_part_of_what_clients_paid() -> None:
    final = closed("rung-01", "final", 1, phone_0=50, hub_0=70)
    without = ledger_of(START, GENERATED, X1, Y1, DROPPED, X2, WON)
    ledger = ledger_of(START, GENERATED, X1, Y1, DROPPED, X2, WON, final)
    assert (ledger.final.macs, ledger.final.client_rounds) == (120, 2)
    assert (ledger.search, ledger.factors) == (without.search, without.factors)
    assert (ledger.iterations, ledger.candidates) == (without.iterations, without.candidates)
    assert ledger.total.macs == 7800 + 120
    assert ledger.total.samples == 30 + 20
    clients = ledger.clients.of_clients()
    assert {name: cost.macs for name, cost in clients.items()} == {"hub-0": 4870, "phone-0": 3050}
    assert ledger.to_dict()["final"]["macs"] == 120


def test_an_iteration_under_way_is_paid_for_but_not_compared() -> None:
    for entries in ((X1,), (X1, Y1), (X1, Y1, DROPPED), (X1, Y1, DROPPED, X2)):
        ledger = ledger_of(START, GENERATED, *entries)
        paid = sum(entry.totals.macs for entry in entries if isinstance(entry, Closed))
        assert ledger.search.macs == paid
        assert (ledger.naive_macs, ledger.factors) == (0, {})


def test_a_candidate_without_a_quorum_costs_and_compares_nothing() -> None:
    dropped = Dropped(
        id=DROPPED.id, ranking=(row("x", kept=True), row("y", kept=False, failed=True))
    )
    ledger = ledger_of(START, GENERATED, X1, closed("y", "pre", 1), dropped, X2, WON)
    assert ledger.search.macs == 6000
    assert ledger.factors["total"] == pytest.approx(3 * 100 * 20 * 2 / 6000)


def test_a_candidate_that_fails_later_saves_nobody_the_rounds_that_it_never_had() -> None:
    both = Dropped(id=DROPPED.id, ranking=(row("x", kept=True), row("y", kept=True)))
    ledger = ledger_of(START, GENERATED, X1, Y1, both, X2, closed("y", "post", 1), WON)
    # Naive for y: one round by both clients, not two.
    assert ledger.naive_macs == 3 * 100 * 20 * 2 + 3 * 60 * 20 * 1
    assert ledger.factors["earlyDrop"] == 1.0
    assert ledger.factors["rounds"] == 1.0


def test_an_empty_journal_has_cost_nothing() -> None:
    ledger = Ledger()
    assert (ledger.search.macs, ledger.naive_macs, ledger.factors) == (0, 0, {})
    assert ledger.to_dict()["search"] == {
        "macs": 0,
        "bytesDown": 0,
        "bytesUp": 0,
        "samples": 0,
        "clientRounds": 0,
    }


def test_factors_change_only_when_an_iteration_is_over() -> None:
    view, finished, overs = View(), {}, 0
    for one in recorded():
        view.apply(one)
        if isinstance(one.entry, Won):
            assert view.ledger.factors != finished
            finished, overs = view.ledger.factors, overs + 1
        assert view.ledger.factors == finished
    assert overs == 4


@given(st.integers(0, 200))
def test_factors_multiply_to_the_total_and_parts_add_up_at_every_moment(count: int) -> None:
    ledger = View(recorded()[:count]).ledger
    ledger.tally(updates().__getitem__)
    parts = (
        (ledger.clients.of_clients(), ledger.total),
        (ledger.clients.of_classes(), ledger.total),
        (ledger.iterations, ledger.search),
        (ledger.candidates, ledger.search),
    )
    for part, whole in parts:
        assert sum(cost.macs for cost in part.values()) == whole.macs
        assert sum(cost.bytes_up for cost in part.values()) == whole.bytes_up
    if ledger.factors:
        names = ("partialClients", "screening", "earlyDrop", "rounds")
        assert math.prod(ledger.factors[name] for name in names) == pytest.approx(
            ledger.factors["total"]
        )
        assert all(ledger.factors[name] >= 1 for name in names)
        assert 4 <= ledger.factors["partialClients"] < 4.1  # four groups of nearly equal clients
