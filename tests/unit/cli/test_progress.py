"""What the live line of a run tells, read off a search that really ran."""

from __future__ import annotations

import io

from rich.console import Console

from fednas.cli._progress import Watch
from fednas.errors import TaskFailed
from fednas.spec import FederatedSearch
from fednas.work import Task
from tests.memory_store import MemoryStore
from tests.unit.search.toy import run, search

TRAINED = ("finalTraining.rounds=2", "finalTraining.clientsPerRound=4", "finalTraining.rungs=all")


def told(spec: FederatedSearch, fails: str = "") -> list[str]:
    """The lines of a search in which the tasks of these rounds fail."""

    def failing(task: Task) -> None:
        if fails and task.id.startswith(fails) and task.kind == "train":
            raise TaskFailed("its disk is full")

    text = io.StringIO()
    with Watch(spec, Console(file=text, width=500), lambda result: None) as watch:
        run(spec, MemoryStore(), on_event=watch, failing=failing)
    return [line.partition(" s  ")[2] or line for line in text.getvalue().splitlines()]


def test_a_line_for_each_initial_round_each_rung_and_each_that_was_trained() -> None:
    lines = told(search(*TRAINED))
    assert [line.partition(":")[0] for line in lines if line.startswith(("start", "rung"))] == [
        "start, round 1",
        "start, round 2",
        *(f"rung {rung}" for rung in range(4)),
        *(f"rung {rung}, trained" for rung in range(4)),
    ]
    assert all(" (before " in line for line in lines if ", trained:" in line)


def test_a_final_training_that_found_no_quorum_is_told_with_its_reason() -> None:
    lines = told(search(*TRAINED), fails="0004/final/rung-02")
    (line,) = [line for line in lines if "has failed" in line]
    assert line.startswith("the final training of rung-02 has failed: ")
    assert line.endswith("its disk is full")
    assert [line for line in lines if line.startswith("rung 1, trained")]
    assert not [line for line in lines if line.startswith("rung 2, trained")]
