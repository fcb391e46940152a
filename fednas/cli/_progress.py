"""The live line of ``fednas run``: a bar in a terminal, a line per decision elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fednas.api import Event, Finished, Waiting
from fednas.federation import FINAL, INITIAL
from fednas.result import Result
from fednas.search import Added, Closed, DataRead, Entry, Recorded, Scored, Tuned, View, strategy_of
from fednas.space import resource
from fednas.spec import FederatedSearch

__all__ = ["Watch"]


class Watch:
    """Takes the events of a search and shows where it is.

    Parameters
    ----------
    search : FederatedSearch
    console : Console
    finished : callable
        Called with the result once there is one, before MLflow is waited for.
    """

    def __init__(
        self, search: FederatedSearch, console: Console, finished: Callable[[Result], None]
    ) -> None:
        self._search = search
        self._strategy = strategy_of(search)
        self._console = console
        self._finished = finished
        self._view = View()
        self._tasks = 0
        self._begun = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._line = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Recorded():
                self._view.apply(event)
                if told := self._tell(event.entry):
                    self._say(f"{time.monotonic() - self._begun:6.0f} s  {told}")
            case DataRead():
                self._say(event.summary)
                for warning in event.warnings:
                    self._say(f"warning: {warning}")
            case Finished():
                self._bar.stop()
                self._finished(event.result)
            case Waiting():
                why = f" ({event.error})" if event.error else ""
                self._say(f"waiting for MLflow{why}; Ctrl-C skips")
            case _:
                self._tasks += 1
        self._bar.update(self._line, description=self._describe(), completed=self._completed())

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _tell(self, entry: Entry) -> str | None:
        """A line for what is worth keeping on the screen."""
        match entry:
            case Scored() if entry.id.phase == INITIAL:
                score = self._view.objective.score(entry.sums)
                return f"start, round {entry.id.number}: validation {100 * score:.1f} %"
            case Added():
                rung = self._view.ladder[-1]
                label = resource(rung.resource).label
                cut = entry.candidate or "the starting network"
                beside = ""
                if rung.baseline_accuracy is not None:
                    beside = f" (thinned alike {100 * rung.baseline_accuracy:.1f} %)"
                return (
                    f"rung {rung.rung}: {cut}, {rung.share:.3f}x {label}, "
                    f"accuracy {100 * rung.accuracy:.1f} %{beside}"
                )
            case Closed() if entry.id.phase == FINAL and not entry.updates and entry.failure:
                why = entry.failure.message
                return f"the final training of {entry.id.subject} has failed: {why}"
            case Tuned():
                rung, how = self._view.ladder[entry.rung], "trained" if entry.best else "taught"
                return (
                    f"rung {rung.rung}, {how}: accuracy {100 * rung.accuracy:.1f} % "
                    f"(before {100 * rung.searched_accuracy:.1f} %)"
                )
        return None

    def _describe(self) -> str:
        if self._view.start is None:
            return f"starting, {self._tasks} tasks"
        phase = self._view.phase or "deciding"
        most = self._strategy.iterations
        return f"iteration {self._view.iteration}/{most}, {phase}, {self._tasks} tasks"

    def _completed(self) -> float:
        ladder = self._view.ladder
        if len(ladder) < 2:
            return 0.0
        return self._strategy.progress(
            ladder[-1].share, self._view.target.share_of(self._view.full)
        )
