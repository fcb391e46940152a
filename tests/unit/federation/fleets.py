"""Fleets whose clients answer, fail or stay silent as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fednas.federation import Cohort, Federation, Gathering, Member, Round, RoundId
from fednas.models import Model, start_architecture
from fednas.spec import Sgd
from fednas.store import digest_of
from fednas.work import TRAIN, Pending, Task, TaskResult, Train

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10)
GROUPS = (("a", "b", "c", "d", "e"), ("f", "g", "h", "i", "j"), ("k", "l", "m", "n", "o"))
SAMPLES = {name: 10 + index for index, name in enumerate("abcdefghijklmno")}
CLASSES = {name: "slow" if name in "de" else "fast" for name in SAMPLES}
SILENT, WAITING = object(), object()
"""A worker took the task and says nothing; nobody took it."""


class ScriptedFleet:
    """Does the cloud's work; ``clients`` says what becomes of a client's task."""

    def __init__(self, clients: Callable[[Task], Any] = lambda task: None) -> None:
        self.clients = clients
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.pending: dict[str, Pending] = {}

    def submit(self, task: Task) -> Pending:
        pending = Pending(task)
        self.submitted.append(task.id)
        self.pending[task.client] = pending
        said = self.clients(task) if task.kind == "train" else None
        if said is WAITING:
            return pending
        pending.started.set_result(0.0)
        if said is SILENT:
            return pending
        if isinstance(said, BaseException):
            pending.future.set_exception(said)
        else:
            pending.future.set_result(result(task))
        return pending

    def cancel(self, pending: Pending) -> None:
        self.cancelled.append(pending.task.client)
        pending.future.cancel()

    def close(self) -> None:
        pass


def result(task: Task) -> TaskResult:
    """What a task gives: outputs told apart by what went in."""
    content = f"{task.kind} {task.client} {sorted(task.inputs.items())} {task.params}"
    name = "mean" if task.kind == "aggregate" else "weights"
    return TaskResult(
        outputs={name: digest_of(content.encode())},
        sizes={name: 4},
        sums={"samples": 8, "loss": 0.5, "correct": 6, "total": 8},
    )


def federation(fleet: Any, *, timeout: float | None = 0.02, refit: bool = True) -> Federation:
    return Federation(
        Gathering(fleet, CLASSES, timeout=timeout, on_done=lambda done: None),
        seed=7,
        members={name: Member(digest_of(name.encode()), count) for name, count in SAMPLES.items()},
        validation="v",
        calibration="c",
        space="s",
        refit=refit,
        quorum=0.8,
    )


def round_of(first: int = 0) -> Round:
    def cohort(attempt: int) -> Cohort:
        group = (first + attempt) % len(GROUPS)
        return Cohort(GROUPS[group], group)

    return Round(
        id=RoundId(1, "pre", "conv", 1),
        model=Model(NETWORK, {"weights": "start"}),
        macs=100,
        kind=TRAIN,
        params=Train(architecture=NETWORK, epochs=1.0, batch_size=4, sgd=Sgd()),
        cohort=cohort,
    )
