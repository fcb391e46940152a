"""What the clients paid, counted from the journal, beside what the naive design would cost.

Naive is: every client trains every candidate for all rounds that were planned, in the iterations
that are over. The factors are taken in the order partial clients, early drop, rounds, and multiply
to the whole: between naive and counted lie the cost with one group a round (``partial``) and that
with early dropping as well (``dropped``). A candidate that failed is compared by the rounds that it
had, since it saved nobody anything. Backward counts twice the forward pass. The initial training is
the same in both designs and is listed apart; a client's download of its own shard is not counted,
since a real client holds its data already.

Sums grow with each entry; who of the clients paid what lies in the tables of the rounds, which are
read only when somebody asks (`Ledger.tally`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fednas.federation import Updates
from fednas.search._entries import Closed, Dropped, Generated, Started, Won
from fednas.search._parts import Offered, Totals

__all__ = ["ClientCosts", "Cost", "Ledger"]


@dataclass
class Cost:
    """Work that entered an aggregate; ``macs`` are those of forward and backward passes."""

    macs: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    samples: int = 0
    client_rounds: int = 0

    def add(self, totals: Totals) -> None:
        """One round more."""
        self.macs += totals.macs
        self.bytes_down += totals.bytes_down
        self.bytes_up += totals.bytes_up
        self.samples += totals.trained
        self.client_rounds += totals.clients

    def to_dict(self) -> dict[str, int]:
        """JSON values, camelCase."""
        return {_camel(name): value for name, value in asdict(self).items()}


class ClientCosts:
    """What each client paid in the search, as columns: int64 arrays over the sorted names."""

    def __init__(self, clients: Mapping[str, str]) -> None:
        self.names = sorted(clients)
        self.device_classes = [clients[name] for name in self.names]
        fields = Cost.__dataclass_fields__
        self.columns: dict[str, npt.NDArray[np.int64]] = {
            name: np.zeros(len(self.names), np.int64) for name in fields
        }

    def add(self, updates: Updates) -> None:
        """The updates of one round."""
        of = updates.clients
        for name in ("macs", "bytes_down", "bytes_up"):
            self.columns[name][of] += updates.counts[name]
        self.columns["samples"][of] += updates.counts["trained"]
        self.columns["client_rounds"][of] += 1

    def of_clients(self) -> dict[str, Cost]:
        """By client; whoever never took part is left out."""
        rows = zip(*(column.tolist() for column in self.columns.values()), strict=True)
        return {
            name: cost
            for name, row in zip(self.names, rows, strict=True)
            if (cost := Cost(*row)).client_rounds
        }

    def of_classes(self) -> dict[str, Cost]:
        """By device class."""
        found: dict[str, Cost] = {}
        classes = np.array(self.device_classes)
        for name in sorted(set(self.device_classes)):
            mine = classes == name
            cost = Cost(*(int(column[mine].sum()) for column in self.columns.values()))
            if cost.client_rounds:
                found[name] = cost
        return found


@dataclass
class _Iteration:
    """An iteration under way: what each candidate's rounds, and a sample of them, have cost."""

    generated: Generated
    rounds: dict[str, list[int]]
    per_sample: dict[str, int]
    kept: dict[str, bool]
    failed: set[str]


class Ledger:
    """The counted ledger of a search, a fold over its entries.

    Attributes
    ----------
    search, initial : Cost
        All clients together, in the search and in the training of the starting network.
    iterations, candidates : dict of str to Cost
        The search's cost by iteration (``3``) and candidate (``3/block5``).
    naive_macs : int
        What the naive design would cost all clients together.
    clients : ClientCosts
        As far as `tally` has read.
    """

    def __init__(self) -> None:
        self.search, self.initial = Cost(), Cost()
        self.iterations: dict[str, Cost] = defaultdict(Cost)
        self.candidates: dict[str, Cost] = defaultdict(Cost)
        self.naive_macs = 0
        self.clients = ClientCosts({})
        self._partial = self._dropped = 0.0
        self._compared = 0
        self._round_samples = 0
        self._open: _Iteration | None = None
        self._untold: list[str] = []

    # -- the fold --------------------------------------------------------------------------------

    def start(self, entry: Started) -> None:
        """Who there is."""
        self._round_samples = entry.round_samples
        self.clients = ClientCosts({n: c.device_class for n, c in entry.clients.items()})

    def generate(self, entry: Generated) -> None:
        """An iteration begins."""
        self._open = _Iteration(entry, defaultdict(list), {}, {}, set())

    def close(self, entry: Closed) -> None:
        """A round was paid for."""
        iteration, name = entry.id.iteration, entry.id.subject
        if entry.updates is None:
            if self._open is not None:
                self._open.failed.add(name)
            return
        if iteration == 0:
            self.initial.add(entry.totals)
            return
        self._untold.append(entry.updates)
        self.search.add(entry.totals)
        self.iterations[str(iteration)].add(entry.totals)
        self.candidates[f"{iteration}/{name}"].add(entry.totals)
        if self._open is not None:
            self._open.rounds[name].append(entry.totals.macs)
            self._open.per_sample[name] = entry.totals.macs // entry.totals.trained

    def drop(self, entry: Dropped) -> None:
        """Some candidates get no further rounds."""
        if self._open is not None:
            for row in entry.ranking:
                if not row.failed:
                    self._open.kept[row.candidate] = row.kept

    def win(self, entry: Won) -> None:
        """An iteration is over, and is compared."""
        under_way, self._open = self._open, None
        if under_way is None:
            return
        for candidate in under_way.generated.candidates:
            self._compare(under_way, candidate)

    def _compare(self, iteration: _Iteration, candidate: Offered) -> None:
        costs = iteration.rounds.get(candidate.name, [])
        if not costs:  # it failed before any round closed
            return
        planned = iteration.generated.planned
        every, mean = sum(planned.values()), sum(costs) / len(costs)
        had = len(costs)
        if candidate.name in iteration.failed:
            every = had
        elif iteration.kept.get(candidate.name, True):
            had = every
        self.naive_macs += iteration.per_sample[candidate.name] * self._round_samples * every
        self._partial += mean * every
        self._dropped += mean * had
        self._compared += sum(costs)

    # -- what it says ----------------------------------------------------------------------------

    @property
    def factors(self) -> dict[str, float]:
        """``partialClients``, ``earlyDrop``, ``rounds`` and their product ``total``.

        Empty until an iteration is over.
        """
        if not self._compared:
            return {}
        return {
            "partialClients": self.naive_macs / self._partial,
            "earlyDrop": self._partial / self._dropped,
            "rounds": self._dropped / self._compared,
            "total": self.naive_macs / self._compared,
        }

    def tally(self, read: Callable[[str], bytes]) -> None:
        """Bring `clients` up to date: ``read`` gives the table of a round by its sha256."""
        while self._untold:
            self.clients.add(Updates.decode(read(self._untold[0])))
            del self._untold[0]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase."""
        return {
            "search": self.search.to_dict(),
            "initial": self.initial.to_dict(),
            "clients": _rows(self.clients.of_clients()),
            "deviceClasses": _rows(self.clients.of_classes()),
            "iterations": _rows(self.iterations),
            "candidates": _rows(self.candidates),
            "naiveMacs": self.naive_macs,
            "factors": self.factors,
        }


def _rows(costs: Mapping[str, Cost]) -> dict[str, Any]:
    return {name: cost.to_dict() for name, cost in sorted(costs.items())}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
