"""Exports a search from its journal to MLflow, step by step, as the journal grows.

Each `Exporter.step` reads what is new and logs it. A step may fail at any point, or be cut off by a
kill: the next one starts from what MLflow says it holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fednas.search import View
from fednas.store import Journal, Record
from fednas.tracking._points import Point, points
from fednas.tracking._run import SearchRun
from fednas.tracking._tables import description, files, flatten, start_tags

__all__ = ["Exporter"]

END = "zzz-end"


class Exporter:
    """Brings one run up to date with one journal.

    Parameters
    ----------
    journal : Journal
    run : SearchRun
    report : callable
        Called when the counts have changed.
    artifact_interval : float
        Seconds between two writings of the artifacts before the end.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        journal: Journal,
        run: SearchRun,
        *,
        report: Callable[[Exporter], None] = lambda exporter: None,
        artifact_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.journal = journal
        self.run = run
        self.exported = 0
        self.pending = 0
        self.finished = False
        self._report = report
        self._interval = artifact_interval
        self._clock = clock
        self._costs: dict[int, list[Point]] = {}
        self._logged = 0
        self._drawn: tuple[int, float] = (-1, 0.0)

    def read(self) -> set[str]:
        """Read the journal; the keys that may be exported now: all records known before."""
        settled = set(self.journal.records)
        self.journal.refresh()
        return settled

    def step(self, settled: set[str]) -> None:
        """Export what is new among the ``settled`` records."""
        if "000-start" not in settled:
            return
        start = self.journal.records["000-start"]
        if self.run.run_id is None or len(settled) > self._logged:
            self._log(start, settled)
        over = END in settled
        self._put_artifacts(settled, over)
        if over and not self.finished:
            self._end(start, self.journal.records[END])

    def _log(self, start: Record, settled: set[str]) -> None:
        due = list(self._points(settled))
        self._count(due)
        if self.run.run_id is None:
            self.run.connect(start.time, start_tags(start.value))
            self.run.log_params(flatten(start.value["spec"]))
            self._drawn = (-1, 0.0)
            self._count(due)
        self.run.log(due)
        self._count(due)
        self._logged = len(settled)

    def interrupt(self) -> None:
        """Say in MLflow that the search was left unfinished, to be continued."""
        if self.run.run_id is not None and not self.finished:
            self.run.end("KILLED")

    def _count(self, due: list[Point]) -> None:
        self.pending = sum(not self.run.has(point) for point in due)
        self.exported = len(due) - self.pending
        self._report(self)

    def _points(self, settled: set[str]) -> list[Point]:
        records = self.journal.records
        found = list(points(records, settled))
        for key in sorted(settled):
            if key.endswith("/rung"):
                found += self._cost(records[key])
        return found

    def _cost(self, rung: Record) -> list[Point]:
        """What the clients have paid up to a rung."""
        number, iteration = rung.value["rung"], rung.value["iteration"]
        if number not in self._costs:
            ledger = View(
                record
                for record in self.journal.records.values()
                if record.value.get("iteration", 0) <= iteration
            ).ledger
            values = {
                "cost/client_gmacs": ledger.search.macs / 1e9,
                "cost/client_mb": (ledger.search.bytes_down + ledger.search.bytes_up) / 1e6,
                "cost/client_rounds": ledger.search.client_rounds,
                "cost/initial_gmacs": ledger.initial.macs / 1e9,
            }
            if ledger.factors:
                values["cost/times_cheaper"] = ledger.factors["total"]
            self._costs[number] = [
                Point(key, value, number, rung.time) for key, value in values.items()
            ]
        return self._costs[number]

    def _put_artifacts(self, settled: set[str], over: bool) -> None:
        rungs = sum(key.endswith("/rung") for key in settled)
        drawn, when = self._drawn
        early = self._clock() - when < self._interval and drawn >= 0
        if self.finished or (not over and (rungs == drawn or early)):
            return
        self.run.put(*files(View(self.journal.records[key] for key in settled)))
        self._drawn = (rungs, self._clock())

    def _end(self, start: Record, end: Record) -> None:
        self.run.set_tags(
            {
                "fednas.reason": end.value["reason"],
                "fednas.message": end.value["message"],
                "mlflow.note.content": description(start.value, end.value),
            }
        )
        self.run.end("FAILED" if end.value["failed"] else "FINISHED", end.time)
        self.finished = True
