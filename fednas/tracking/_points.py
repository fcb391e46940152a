"""The metrics of a search, as a pure function of its journal.

There are two clocks. Metrics over *rounds* have as their step the global round: how many rounds of
training the search has seen, candidates in parallel counting once. Metrics over the *ladder* have
the rung as their step. A metric has one value per step, and its time is that of the record it
comes from, so exporting twice gives the same points.

==============================  =====  =========================================================
``candidate/<layer>``           round  accuracy of the candidate that shrinks this layer
``untrained/<layer>``           round  the same when just cut, before its first round
``round/accuracy_best``         round  over the candidates of this round; also ``_mean``
``round/candidates``            round  how many trained in it
``round/clients``               round  updates that counted; also ``_missing``
``round/loss``                  round  mean loss of the clients' training, weighted by samples
``kept/<layer>``                rung   1 where the early drop kept the candidate, else 0
``width/<layer>``               rung   filters left
``accuracy``                    rung   of the rung; also ``validation_accuracy``
``macs``, ``share``, ``params`` rung   of the rung; ``share`` is that of the start's MACs
==============================  =====  =========================================================
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fednas.store import Record

__all__ = ["Point", "accuracy", "kind_of", "points"]

Phase = tuple[int, str]
_ORDER = ("initial", "cut", "pre", "post")


@dataclass(frozen=True)
class Point:
    """One value of one metric. ``time`` is in seconds since the epoch."""

    key: str
    value: float
    step: int
    time: float


def kind_of(record: Record) -> str:
    """What a record decides: ``start``, ``generated``, ``aggregated``, ``dropped``, ..."""
    return record.key.rpartition("/")[2].rpartition("-")[2]


def accuracy(value: Mapping[str, Any]) -> float:
    """Share of correct predictions of an evaluation; 0 of nothing."""
    return float(value["correct"]) / max(1, int(value["total"]))


def points(records: Mapping[str, Record], settled: Collection[str]) -> Iterator[Point]:
    """Every metric that ``records`` hold so far, apart from cost.

    Parameters
    ----------
    records : mapping of str to Record
    settled : collection of str
        Keys of the records that may give points. A point can depend on other records written
        before its own; listing a store is not atomic, so a record counts as settled only when
        the journal was read once more after it was seen.
    """
    rounds = _Rounds(records)
    for key in sorted(settled):
        record = records[key]
        match kind_of(record):
            case "aggregated":
                yield from _of_aggregate(record, rounds)
            case "dropped":
                yield from _of_drop(record, rounds)
                yield from _of_phase((record.value["iteration"], "pre"), rounds)
            case "winner":
                yield from _of_phase((record.value["iteration"], "post"), rounds)
            case "rung":
                yield from _of_rung(record, records["000-start"])


class _Rounds:
    """The records of each phase by round, and the global round at which each phase began."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.aggregated: dict[Phase, dict[int, list[Record]]] = {}
        self.closed: dict[Phase, dict[int, list[Record]]] = {}
        self.layers: dict[tuple[int, str], str] = {}
        for key in sorted(records):
            record = records[key]
            match kind_of(record):
                case "aggregated":
                    self._file(self.aggregated, record)
                case "closed":
                    self._file(self.closed, record)
                case "generated":
                    for candidate in record.value["candidates"]:
                        name = record.value["iteration"], candidate["candidate"]
                        self.layers[name] = candidate["layer"]
        self._before: dict[Phase, int] = {}
        over = 0
        for phase in sorted(
            self.aggregated.keys() | self.closed.keys(),
            key=lambda phase: (phase[0], _ORDER.index(phase[1])),
        ):
            self._before[phase] = over
            over += max([*self.aggregated.get(phase, {}), *self.closed.get(phase, {})])

    def step(self, record: Record) -> int:
        return self._before[_phase(record)] + int(record.value["round"])

    def layer(self, iteration: int, candidate: str) -> str:
        return self.layers[iteration, candidate]

    @staticmethod
    def _file(where: dict[Phase, dict[int, list[Record]]], record: Record) -> None:
        where.setdefault(_phase(record), {}).setdefault(record.value["round"], []).append(record)


def _phase(record: Record) -> Phase:
    return record.value.get("iteration", 0), record.value.get("phase", "initial")


def _of_aggregate(record: Record, rounds: _Rounds) -> Iterator[Point]:
    iteration, phase = _phase(record)
    if phase == "initial":
        yield from _of_round((iteration, phase), record.value["round"], rounds)
        return
    name = "untrained" if phase == "cut" else "candidate"
    layer = rounds.layer(iteration, record.value["candidate"])
    yield Point(f"{name}/{layer}", accuracy(record.value), rounds.step(record), record.time)


def _of_phase(phase: Phase, rounds: _Rounds) -> Iterator[Point]:
    """Over all candidates, per round; known once the phase is over."""
    for number in sorted(rounds.aggregated.get(phase, {})):
        yield from _of_round(phase, number, rounds)


def _of_round(phase: Phase, number: int, rounds: _Rounds) -> Iterator[Point]:
    aggregated = rounds.aggregated[phase][number]
    closed = rounds.closed.get(phase, {}).get(number, [])
    step, time = rounds.step(aggregated[0]), max(record.time for record in aggregated)
    accuracies = [accuracy(record.value) for record in aggregated]
    updates = [update for record in closed for update in record.value["updates"]]
    missing = sum(len(record.value["missing"]) for record in closed)
    yield Point("round/accuracy_best", max(accuracies), step, time)
    yield Point("round/accuracy_mean", sum(accuracies) / len(accuracies), step, time)
    yield Point("round/candidates", len(accuracies), step, time)
    yield Point("round/clients", len(updates), step, time)
    yield Point("round/clients_missing", missing, step, time)
    samples = sum(update["trainedSamples"] for update in updates)
    if samples:
        loss = sum(update["loss"] * update["trainedSamples"] for update in updates) / samples
        yield Point("round/loss", loss, step, time)


def _of_drop(record: Record, rounds: _Rounds) -> Iterator[Point]:
    iteration = record.value["iteration"]
    for row in record.value["ranking"]:
        layer = rounds.layer(iteration, row["candidate"])
        yield Point(f"kept/{layer}", float(row["kept"]), iteration, record.time)


def _of_rung(record: Record, start: Record) -> Iterator[Point]:
    value, step, time = record.value, record.value["rung"], record.time
    validation = {"correct": value["validationCorrect"], "total": value["validationTotal"]}
    yield Point("accuracy", accuracy(value), step, time)
    yield Point("validation_accuracy", accuracy(validation), step, time)
    yield Point("macs", value["macs"], step, time)
    yield Point("share", value["macs"] / start.value["macs"], step, time)
    yield Point("params", value["params"], step, time)
    widths = value["architecture"]["choices"]["widths"]
    for layer, width in zip(start.value["layers"], widths, strict=True):
        yield Point(f"width/{layer['name']}", width, step, time)
