"""What each client paid, counted from the journal, beside what the naive design would cost.

Naive is: every client trains every candidate for all rounds of both phases, in the iterations that
this search went through. The factors are taken in the order partial clients, early drop, rounds,
and multiply to the whole: between naive and counted lie the cost with one group a round
(``partial``) and that with early dropping as well (``dropped``). Backward counts twice the forward
pass. The initial training is the same in both designs and is listed apart; a client's download of
its own shard is not counted, since a real client holds its data already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fednas.federation import trained_samples
from fednas.store import Record

__all__ = ["Cost", "Ledger", "make_ledger"]


@dataclass
class Cost:
    """Work that entered an aggregate; ``macs`` are those of forward and backward passes."""

    macs: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    samples: int = 0
    client_rounds: int = 0

    def add(self, update: Mapping[str, Any]) -> None:
        self.macs += update["macs"]
        self.bytes_down += update["bytesDown"]
        self.bytes_up += update["bytesUp"]
        self.samples += update["trainedSamples"]
        self.client_rounds += 1


@dataclass(frozen=True)
class Ledger:
    """The counted ledger of a search.

    Parameters
    ----------
    search, initial : Cost
        All clients together, in the search and in the training of the starting network.
    clients, device_classes, iterations, candidates : dict of str to Cost
        The search's cost by client, class, iteration (``3``) and candidate (``3/block5``).
    naive_macs : int
        What the naive design would cost all clients together.
    factors : dict of str to float
        ``partialClients``, ``earlyDrop``, ``rounds`` and their product ``total``.
    """

    search: Cost
    initial: Cost
    clients: dict[str, Cost]
    device_classes: dict[str, Cost]
    iterations: dict[str, Cost]
    candidates: dict[str, Cost]
    naive_macs: int
    factors: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase."""

        def rows(costs: Mapping[str, Cost]) -> dict[str, Any]:
            return {name: _row(cost) for name, cost in sorted(costs.items())}

        return {
            "search": _row(self.search),
            "initial": _row(self.initial),
            "clients": rows(self.clients),
            "deviceClasses": rows(self.device_classes),
            "iterations": rows(self.iterations),
            "candidates": rows(self.candidates),
            "naiveMacs": self.naive_macs,
            "factors": self.factors,
        }


def _row(cost: Cost) -> dict[str, int]:
    words = {name: name.split("_") for name in asdict(cost)}
    return {
        first + "".join(word.title() for word in rest): getattr(cost, name)
        for name, (first, *rest) in words.items()
    }


def make_ledger(records: Mapping[str, Record]) -> Ledger:
    """Count a search from its journal."""
    search, initial = Cost(), Cost()
    clients: dict[str, Cost] = defaultdict(Cost)
    classes: dict[str, Cost] = defaultdict(Cost)
    iterations: dict[str, Cost] = defaultdict(Cost)
    candidates: dict[str, Cost] = defaultdict(Cost)
    rounds: dict[tuple[int, str], list[int]] = defaultdict(list)
    start = records["000-start"].value if "000-start" in records else {"clients": {}}
    for record in _closed(records):
        iteration, name = record["iteration"], record["candidate"]
        for update in record["updates"]:
            if iteration == 0:
                initial.add(update)
                continue
            search.add(update)
            clients[update["client"]].add(update)
            classes[start["clients"][update["client"]]["deviceClass"]].add(update)
            iterations[str(iteration)].add(update)
            candidates[f"{iteration}/{name}"].add(update)
        if iteration and record["updates"]:
            rounds[iteration, name].append(sum(update["macs"] for update in record["updates"]))
    naive, factors = _factors(start, records, rounds, search.macs)
    return Ledger(
        search,
        initial,
        dict(clients),
        dict(classes),
        dict(iterations),
        dict(candidates),
        naive,
        factors,
    )


def _closed(records: Mapping[str, Record]) -> Iterable[Mapping[str, Any]]:
    return [records[key].value for key in sorted(records) if key.endswith("-closed")]


def _factors(
    start: Mapping[str, Any],
    records: Mapping[str, Record],
    rounds: Mapping[tuple[int, str], list[int]],
    counted: int,
) -> tuple[int, dict[str, float]]:
    if not counted:
        return 0, {}
    spec = start["spec"]
    training, schedule = spec["training"], spec["strategy"]["netAdapt"]["rounds"]["constant"]
    pre, post = schedule["pre"], schedule["post"]
    everyone = sum(
        trained_samples(client["samples"], training["epochs"], training["batchSize"])
        for client in start["clients"].values()
    )
    naive, partial, dropped = 0, 0.0, 0.0
    for key in sorted(records):
        if not key.endswith("/generated"):
            continue
        generated = records[key].value
        decision = records.get(key.replace("/generated", "/dropped"))
        if decision is None:  # an iteration under way is not compared
            counted -= sum(sum(rounds[n]) for n in rounds if n[0] == generated["iteration"])
            continue
        kept = {row["candidate"] for row in decision.value["ranking"] if row["kept"]}
        for candidate in generated["candidates"]:
            name = candidate["candidate"]
            costs = rounds.get((generated["iteration"], name), [])
            if not costs:  # it failed before any round closed
                continue
            mean = sum(costs) / len(costs)
            naive += 3 * candidate["macs"] * everyone * (pre + post)
            partial += mean * (pre + post)
            dropped += mean * (pre + (post if name in kept else 0))
    if not dropped or counted <= 0:
        return 0, {}
    return naive, {
        "partialClients": naive / partial,
        "earlyDrop": partial / dropped,
        "rounds": dropped / counted,
        "total": naive / counted,
    }
