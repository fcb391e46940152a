"""The live line of ``fednas run``: a bar in a terminal, a line per decision elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fednas.api import Event
from fednas.spec import FederatedSearch
from fednas.store import Record

__all__ = ["Watch"]


class Watch:
    """Takes the events of a search and shows where it is.

    The bar is the way from the whole network's MACs down to the target.
    """

    def __init__(self, search: FederatedSearch, console: Console) -> None:
        self._search = search
        self._console = console
        self._records: list[Record] = []
        self._tasks = 0
        self._lock = threading.Lock()
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
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if not isinstance(event, Record):
                self._tasks += 1
                self._bar.update(self._line, description=self._describe())
                return
            self._records.append(event)
            told = self._tell(event)
            if told:
                self._console.print(told, highlight=False)
            self._bar.update(self._line, description=self._describe(), completed=self._completed())

    def _tell(self, record: Record) -> str | None:
        """A line for what is worth keeping on the screen."""
        value = record.value
        at = f"{time.monotonic() - self._begun:6.0f} s  "
        if record.key.startswith("000-initial/") and record.key.endswith("-aggregated"):
            accuracy = value["correct"] / value["total"]
            return f"{at}start, round {value['round']}: validation {100 * accuracy:.1f} %"
        if record.key.endswith("/rung"):
            cut = value["candidate"] or "the starting network"
            full = next((r.value["macs"] for r in self._records if r.value.get("rung") == 0), None)
            share = value["macs"] / (full or value["macs"])
            accuracy = value["correct"] / value["total"]
            return (
                f"{at}rung {value['rung']}: {cut}, {share:.3f}x MACs, "
                f"accuracy {100 * accuracy:.1f} %"
            )
        return None

    def _describe(self) -> str:
        last = next((r.value for r in reversed(self._records) if "iteration" in r.value), None)
        if last is None:
            return f"starting, {self._tasks} tasks"
        phase = last.get("phase", "deciding")
        net_adapt = self._search.spec.strategy.net_adapt
        assert net_adapt is not None, "the only member of this union"
        most = net_adapt.max_iterations
        return f"iteration {last['iteration']}/{most}, {phase}, {self._tasks} tasks"

    def _completed(self) -> float:
        rungs: list[int] = [
            record.value["macs"] for record in self._records if record.key.endswith("/rung")
        ]
        if len(rungs) < 2:
            return 0.0
        return min(1.0, (1 - rungs[-1] / rungs[0]) / (1 - self._search.spec.target.macs.share))
