"""What the clients paid, counted from the journal, beside what the naive design would cost.

Naive is: every client trains every candidate for all rounds that were planned, in the iterations
that are over. The factors are taken in the order partial clients, screening, early drop, rounds,
and multiply to the whole: between naive and counted lie the cost with one group a round
(``partial``), that without the candidates that were never trained (``screened``), and that with
early dropping as well (``dropped``). A candidate that failed is compared by the rounds that it had,
since it saved nobody anything. Backward counts twice the forward pass. The initial and the final
training are the same in both designs and are listed apart; a client's download of its own shard is
not counted, since a real client holds its data already.

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

from fednas.federation import FINAL, Updates
from fednas.search._entries import Closed, Dropped, Generated, Started, Won
from fednas.search._parts import Offered, Totals
from fednas.work import TRAIN

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
    """What each client paid, in the search and after it: int64 columns over the sorted names."""

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
    search, initial, final : Cost
        All clients together, in the search, in the training of the starting network and in that
        of the networks in use.
    iterations, candidates : dict of str to Cost
        The search's cost by iteration (``3``) and candidate (``3/block5``).
    naive_macs : int
        What the naive design would cost all clients together.
    clients : ClientCosts
        As far as `tally` has read.
    """

    def __init__(self) -> None:
        self.search, self.initial, self.final = Cost(), Cost(), Cost()
        self.iterations: dict[str, Cost] = defaultdict(Cost)
        self.candidates: dict[str, Cost] = defaultdict(Cost)
        self.naive_macs = 0
        self.clients = ClientCosts({})
        self._partial = self._screened = self._dropped = 0.0
        self._compared = 0
        self._round_samples = 0
        self._groups = 1
        self._open: _Iteration | None = None
        self._untold: list[str] = []

    # -- the fold --------------------------------------------------------------------------------

    def start(self, entry: Started) -> None:
        """Who there is."""
        self._round_samples = entry.round_samples
        self._groups = len(entry.groups)
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
        if entry.id.phase == FINAL:
            self.final.add(entry.totals)
            return
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
        planned = sum(iteration.generated.planned.values())
        costs = iteration.rounds.get(candidate.name, [])
        screened = not costs and candidate.name not in iteration.failed
        every = len(costs) if candidate.name in iteration.failed else planned
        if screened:
            # What nobody trained is compared by what a group of the mean size would have paid.
            one = self._per_sample(candidate)
            mean = one * self._round_samples / self._groups
        elif costs:
            one, mean = iteration.per_sample[candidate.name], sum(costs) / len(costs)
        else:  # it failed before any round closed
            return
        self.naive_macs += one * self._round_samples * every
        self._partial += mean * every
        if screened:
            return
        self._screened += mean * every
        self._dropped += mean * (every if iteration.kept.get(candidate.name, True) else len(costs))
        self._compared += sum(costs)

    def _per_sample(self, candidate: Offered) -> int:
        """Forward and backward multiply-accumulates of one sample."""
        return TRAIN.passes * candidate.costs["macs"]

    # -- what it says ----------------------------------------------------------------------------

    @property
    def factors(self) -> dict[str, float]:
        """``partialClients``, ``screening``, ``earlyDrop``, ``rounds`` and their product ``total``.

        Empty until an iteration is over in which a client trained.
        """
        if not self._compared:
            return {}
        return {
            "partialClients": self.naive_macs / self._partial,
            "screening": self._partial / self._screened,
            "earlyDrop": self._screened / self._dropped,
            "rounds": self._dropped / self._compared,
            "total": self.naive_macs / self._compared,
        }

    @property
    def total(self) -> Cost:
        """Of the search and of the final training."""
        both = zip(asdict(self.search).values(), asdict(self.final).values(), strict=True)
        return Cost(*map(sum, both))

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
            "final": self.final.to_dict(),
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
