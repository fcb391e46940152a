"""Exports a search from its journal to MLflow, step by step, as the journal grows.

Each entry is read once and folded. A step may fail at any point, or be cut off by a kill: the next
one starts from what MLflow says it holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fednas.search import Ended, Reader, Recorded, View
from fednas.store import Blobs, Journal
from fednas.tracking._points import Point, Points
from fednas.tracking._run import SearchRun
from fednas.tracking._tables import description, files, flatten, privacy_tags, start_tags

__all__ = ["Exporter"]


class Exporter:
    """Brings one run up to date with one journal.

    Parameters
    ----------
    journal : Journal
    tables : Blobs
        Of the updates of rounds, for the ledger.
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
        tables: Blobs,
        run: SearchRun,
        *,
        report: Callable[[Exporter], None] = lambda exporter: None,
        artifact_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.finished = False
        self._view = View()
        self._reader = Reader(journal)
        self._tables = tables
        self._fold = Points()
        self._points: list[Point] = []
        self._due: list[Point] = []
        self._end: Recorded | None = None
        self._report = report
        self._interval = artifact_interval
        self._clock = clock
        self._drawn: tuple[int, float] = (-1, 0.0)

    @property
    def pending(self) -> int:
        """Points that are not known to be in MLflow."""
        return len(self._due)

    @property
    def exported(self) -> int:
        """Points that are in MLflow."""
        return len(self._points) - len(self._due)

    def read(self) -> None:
        """Fold what is new in the journal.

        An entry is given when it was listed twice; the second time follows at once.
        """
        self._read()
        if self._reader.waiting:
            self._read()
        self._report(self)

    def _read(self) -> None:
        for recorded in self._reader.read():
            self._view.apply(recorded)
            new = self._fold.apply(recorded, self._view)
            self._points += new
            self._due += new
            if isinstance(recorded.entry, Ended):
                self._end = recorded

    def step(self) -> None:
        """Export what was read and is not in MLflow yet."""
        start = self._view.start
        if start is None:
            return
        if self.run.run_id is None:
            self.run.connect(self._view.began, start_tags(start))
            self.run.log_params(flatten(start.spec))
            self._drawn = (-1, 0.0)
            self._due = [point for point in self._points if not self.run.has(point)]
        if self._due:
            self.run.log(self._due)
            self._due = []
            self._report(self)
        self._put_artifacts()
        if self._end is not None and not self.finished:
            self._finish(self._end)

    def interrupt(self) -> None:
        """Say in MLflow that the search was left unfinished, to be continued."""
        if self.run.run_id is not None and not self.finished:
            self.run.end("KILLED")

    def _put_artifacts(self) -> None:
        rungs, over = len(self._view.ladder), self._end is not None
        drawn, when = self._drawn
        early = self._clock() - when < self._interval and drawn >= 0
        if self.finished or (not over and (rungs == drawn or early)):
            return
        self._view.ledger.tally(self._tables.get)
        self.run.put(*files(self._view))
        self._drawn = (rungs, self._clock())

    def _finish(self, recorded: Recorded) -> None:
        end, start = recorded.entry, self._view.start
        assert isinstance(end, Ended)
        assert start is not None
        self.run.set_tags(
            {
                "fednas.reason": end.reason,
                "fednas.message": end.message,
                "mlflow.note.content": description(start, end),
                **privacy_tags(self._view),
            }
        )
        self.run.end("FAILED" if end.failed else "FINISHED", recorded.time)
        self.finished = True
