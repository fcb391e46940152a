"""The metrics of a search, as a fold over its journal.

There are two clocks. Metrics over *rounds* have as their step the global round: how many rounds of
training the search has seen, candidates in parallel counting once. Metrics over the *ladder* have
the rung as their step. A metric has one value per step, and its time is that of the entry it
comes from, so exporting twice gives the same points.

``<layer>`` is the group of layers that a candidate changes, or the candidate's name where it
changes several or is not the only one to change that one.

==============================  =====  =========================================================
``candidate/<layer>``           round  accuracy of the candidate that shrinks this layer
``untrained/<layer>``           round  the same when just cut, before its first round
``round/accuracy_best``         round  over the candidates of this round; also ``_mean``
``round/candidates``            round  how many trained in it
``round/clients``               round  updates that counted; also ``_missing``
``round/loss``                  round  mean loss of the clients' training, weighted by samples;
                                       so any other metric that they report
``kept/<layer>``                rung   1 where the first drop kept the candidate, else 0
``width/<layer>``               rung   filters left
``accuracy``                    rung   of the rung; also ``validation_accuracy``
``share``                       rung   of the start's cost in what the target counts
``macs``, ``params``, ...       rung   of the rung, every cost by its resource
``cost/...``                    rung   what the clients have paid up to it, all together
==============================  =====  =========================================================
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from fednas.models import Architecture
from fednas.search import (
    Added,
    Closed,
    Dropped,
    Entry,
    Generated,
    Recorded,
    Scored,
    Started,
    View,
)

__all__ = ["Point", "Points"]

Place = tuple[int, int, int]
"""A round of all its candidates: iteration, phase, number; the first three of `Entry.order`."""


@dataclass(frozen=True)
class Point:
    """One value of one metric. ``time`` is in seconds since the epoch."""

    key: str
    value: float
    step: int
    time: float


@dataclass
class _Round:
    """What is known of a round of training; whole once an entry of a later place comes."""

    step: int
    scores: list[float] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    time: float = 0.0


class Points:
    """Gives the points of each entry; apply entries in the order of the story."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._round: _Round | None = None
        self._rounds = 0
        self._layers: dict[str, str] = {}
        self._told: set[str] = set()

    def apply(self, recorded: Recorded, view: View) -> list[Point]:
        """The points that an entry gives.

        Parameters
        ----------
        recorded : Recorded
        view : View
            To which it, and nothing after it, was applied.
        """
        entry, time = recorded.entry, recorded.time
        found = self._leave() if self._is_over(entry, view.phases) else []
        match entry:
            case Closed() | Scored():
                self._enter(entry.order(view.phases)[:3])
                found += self._of_round(entry, time, view)
            case Generated():
                self._layers, self._told = _labels(entry), set()
            case Dropped():
                found += self._of_drop(entry, time)
            case Added():
                found += _of_rung(time, view)
        return found

    def _is_over(self, entry: Entry, phases: tuple[str, ...]) -> bool:
        """Whether the round under way is whole: only what comes after all of it says so.

        A consent, which may be given at any time, does not.
        """
        return self._place is not None and entry.order(phases) > (*self._place, Scored.rank)

    def _enter(self, place: Place) -> None:
        """A round begins where the first of its candidates is heard of."""
        if place == self._place:
            return
        self._place = place
        iteration, _, number = place
        if number:
            self._rounds += 1
        if number or not iteration:
            self._round = _Round(self._rounds)

    def _leave(self) -> list[Point]:
        """The round that went before is whole."""
        whole, self._round, self._place = self._round, None, None
        return [] if whole is None else list(_of_all(whole))

    def _of_round(self, entry: Closed | Scored, time: float, view: View) -> Iterator[Point]:
        if self._round is not None and isinstance(entry, Closed):
            self._round.closed.append(entry)
        if isinstance(entry, Closed):
            return
        score = view.objective.score(entry.sums)
        if self._round is not None:
            self._round.scores.append(score)
            self._round.time = max(self._round.time, time)
        if entry.id.iteration and entry.id.subject:  # one network alone is told by round/...
            name = "candidate" if entry.id.number else "untrained"
            layer = self._layers.get(entry.id.subject, entry.id.subject)
            yield Point(f"{name}/{layer}", score, self._rounds, time)

    def _of_drop(self, entry: Dropped, time: float) -> Iterator[Point]:
        for row in entry.ranking:
            if row.candidate not in self._told:
                self._told.add(row.candidate)
                key = f"kept/{self._layers[row.candidate]}"
                yield Point(key, float(row.kept), entry.id.iteration, time)


def _labels(generated: Generated) -> dict[str, str]:
    """What metrics call each candidate: MLflow takes only ``[A-Za-z0-9_./ :-]``, and not much."""
    changing = Counter(next(iter(c.changes)) for c in generated.candidates if len(c.changes) == 1)
    return {
        c.name: layer if len(c.changes) == 1 and changing[layer] == 1 else c.name
        for c in generated.candidates
        for layer in [next(iter(c.changes), "")]
    }


def _of_all(whole: _Round) -> Iterator[Point]:
    """Over all candidates of a round."""
    step, time, scores, closed = whole.step, whole.time, whole.scores, whole.closed
    if not scores:
        return
    yield Point("round/accuracy_best", max(scores), step, time)
    yield Point("round/accuracy_mean", sum(scores) / len(scores), step, time)
    yield Point("round/candidates", len(scores), step, time)
    yield Point("round/clients", sum(one.totals.clients for one in closed), step, time)
    yield Point("round/clients_missing", sum(len(one.missing) for one in closed), step, time)
    sums: dict[str, float] = defaultdict(float)
    samples: dict[str, int] = defaultdict(int)
    for one in closed:
        for name, mean in one.metrics.items():
            sums[name] += mean * one.totals.trained
            samples[name] += one.totals.trained
    for name in sorted(sums):
        yield Point(f"round/{name}", sums[name] / samples[name], step, time)


def _of_rung(time: float, view: View) -> Iterator[Point]:
    """Of the last rung, and of what it took to get there."""
    assert view.start is not None, "a rung follows a start"
    rung, ledger = view.ladder[-1], view.ledger
    values = {
        "accuracy": rung.accuracy,
        "validation_accuracy": rung.validation_accuracy,
        **rung.costs,
        "share": rung.share,
        "cost/client_gmacs": ledger.search.macs / 1e9,
        "cost/client_mb": (ledger.search.bytes_down + ledger.search.bytes_up) / 1e6,
        "cost/client_rounds": ledger.search.client_rounds,
        "cost/initial_gmacs": ledger.initial.macs / 1e9,
    }
    values |= _widths(view.start, rung.architecture)
    if ledger.factors:
        values["cost/times_cheaper"] = ledger.factors["total"]
    for key, value in values.items():
        yield Point(key, value, rung.rung, time)


def _widths(start: Started, network: Architecture) -> dict[str, int]:
    """Of the groups that can be cut; a group that was left out has a width of its own between."""
    fixed = {left["choice"] for left in start.left_out}
    free = [width for choice, width in enumerate(network.widths) if choice not in fixed]
    layers = zip(start.layers, free, strict=True)
    return {f"width/{layer.name}": width for layer, width in layers}
