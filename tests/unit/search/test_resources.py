"""Searches whose target or budgets count something else than MACs."""

from __future__ import annotations

import json

import pytest

from fednas.errors import BadInput, DataError
from fednas.resources import LatencyRow, write_latencies
from fednas.search import Added, status_of
from tests.memory_store import MemoryStore
from tests.unit.search.toy import KillAt, Killed, journal, network, run, search, space

WIDTHS = (1, 16)


def table(factor: float = 1.0, kernel: int = 1) -> bytes:
    """A layer from i to o channels takes ``factor * (1 + i * o / 100)`` ms, a network 0.5 more."""
    rows = [
        LatencyRow("conv", kernel, 1, 1, i, o, factor * (1 + i * o / 100), "toy", "none")
        for i in WIDTHS
        for o in WIDTHS
    ]
    rows.append(LatencyRow("network", 0, 0, 0, 0, 0, 0.5, "toy", "none"))
    return write_latencies(rows).encode()


LATENCY = (
    "target={latency: {deviceClass: phone, share: 0.8}}",
    "deviceClasses.phone.latencyTable=phone.csv",
)


@pytest.mark.parametrize("name", ["params", "memory"])
def test_a_search_gets_down_to_the_share_of_what_its_target_counts(name: str) -> None:
    spec = search(f"target={{{name}: {{share: 0.6}}}}", maxIterations=5)
    view = run(spec, MemoryStore())
    assert view.end is not None
    assert view.end.reason == "Completed"
    shares = [rung.costs[name] / view.ladder[0].costs[name] for rung in view.ladder]
    assert [rung.share for rung in view.ladder] == shares
    assert shares[-1] <= 0.6 < shares[-2]
    display = status_of(view, spec).display
    assert display is not None
    assert (display.target, display.share) == (name, f"{shares[-1]:.2f}>0.60")


def test_memory_is_that_of_the_batch_that_clients_train() -> None:
    view = run(search(maxIterations=1), MemoryStore())
    widths, batch = network().widths, 32
    weights = 3 * 4 * 3 * sum(widths)
    assert view.ladder[0].costs["memory"] == weights + batch * (40 * widths[0] + 20 * widths[1] + 8)


def test_a_target_may_be_an_amount() -> None:
    whole = space().params(network().widths)
    view = run(search(f"target={{params: {{absolute: {whole - 20}}}}}"), MemoryStore())
    assert view.ladder[-1].params <= whole - 20 < view.ladder[-2].params


def test_an_amount_that_the_start_meets_is_refused_before_anything_is_recorded() -> None:
    whole, store = space().params(network().widths), MemoryStore()
    with pytest.raises(BadInput, match=rf"spec.target.params.absolute: got {whole}; must be less"):
        run(search(f"target={{params: {{absolute: {whole}}}}}"), store)
    assert journal(store) == {}


def test_budgets_and_target_may_count_different_things() -> None:
    view = run(search("deviceClasses.hub.budget={params: {share: 0.9}}"), MemoryStore())
    spec = search("deviceClasses.hub.budget={params: {share: 0.9}}")
    rung = view.selected(spec)["hub"]
    assert rung is not None
    fitting = [r for r in view.ladder if r.params <= 0.9 * view.ladder[0].params]
    assert rung is min(fitting, key=lambda r: (r.validation_loss, -r.rung))


def test_a_search_gets_down_to_a_latency_by_the_table_of_a_class() -> None:
    view = run(search(*LATENCY), MemoryStore(), table=lambda field, path: table())
    a, b, c, d = network().widths
    milliseconds = 3 + (a * b + b * c + c * d) / 100 + 0.5
    assert view.ladder[0].costs["latency.phone"] == round(1e6 * milliseconds)
    assert view.ladder[-1].share <= 0.8
    assert "latency on phone" in view.end.message if view.end else False


def test_the_table_is_read_once_and_kept_with_the_journal() -> None:
    whole, store, asked = MemoryStore(), MemoryStore(), []

    def read(field: str, path: str) -> bytes:
        asked.append((field, path))
        return table()

    run(search(*LATENCY), whole, table=read)
    with pytest.raises(Killed):
        run(search(*LATENCY), store, table=read, before=KillAt(30))
    assert "journal/end.json" not in store.objects
    run(search(*LATENCY), store, table=lambda field, path: table(7.0))  # it has changed meanwhile
    assert journal(store) == journal(whole)
    assert asked == [("spec.deviceClasses[0].latencyTable", "phone.csv")] * 2
    tables = json.loads(store.objects["journal/start.json"])["tables"]
    assert store.objects[f"journal/tables/{tables['phone']}"] == table()


def test_a_table_of_another_network_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(DataError) as caught:
        run(search(*LATENCY), store, table=lambda field, path: table(kernel=3))
    assert str(caught.value) == (
        "spec.deviceClasses[0].latencyTable: phone.csv: has no conv of kernel 1, stride 1 and size "
        "1; must be of this network: fednas measure-latency writes one"
    )
    assert "journal/start.json" not in store.objects


def test_every_rung_has_every_cost() -> None:
    view = run(search(LATENCY[1]), MemoryStore(), table=lambda field, path: table())
    for entry in view.entries.values():
        if isinstance(entry, Added):
            assert set(entry.costs) == {"macs", "params", "memory", "latency.phone"}
