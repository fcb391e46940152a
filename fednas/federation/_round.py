"""One federated round: a cohort trains, the round closes on quorum, the updates are averaged.

The set of updates that counts is journalled before it is averaged (``closed``), and the average
with its evaluation afterwards (``aggregated``). A round that is replayed obeys both records, so it
ends in the same bits however often the process was killed in between.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fednas.errors import Corrupt, NotFound, TaskFailed
from fednas.federation._task import CLOUD, Fleet, Pending, Result, Task
from fednas.models import Architecture
from fednas.seeds import derive_seed
from fednas.store import Blobs, Journal

__all__ = ["Cohort", "Federation", "Outcome", "Round", "quorum_of", "trained_samples"]

ATTEMPTS = 3
"""How often a round is tried, on another group each time, before its candidate has failed."""


@dataclass(frozen=True)
class Cohort:
    """The clients of one attempt of a round, and the index of their group (None: drawn)."""

    clients: tuple[str, ...]
    group: int | None = None


@dataclass(frozen=True)
class Round:
    """What is to be trained.

    Parameters
    ----------
    iteration, phase, candidate, round
        Name the round; ``candidate`` is empty in the initial training.
    weights : str
        sha256 of the weights that every client starts from.
    macs : int
        Forward multiply-accumulates of one sample.
    training : mapping
        Parameters of the kind ``train`` besides the architecture.
    cohort : callable
        Attempt (0, 1, ...) -> who trains.
    """

    iteration: int
    phase: str
    candidate: str
    round: int
    architecture: Architecture
    weights: str
    macs: int
    training: Mapping[str, Any]
    cohort: Callable[[int], Cohort]

    @property
    def key(self) -> str:
        if not self.candidate:
            return f"{self.iteration:03}-{self.phase}/{self.round:02}"
        return f"{self.iteration:03}/{self.phase}/{self.candidate}/{self.round:02}"

    @property
    def labels(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "phase": self.phase,
            "candidate": self.candidate,
            "round": self.round,
        }


@dataclass(frozen=True)
class Outcome:
    """An evaluated network; ``failed`` when no quorum could be had."""

    weights: str
    correct: int = 0
    total: int = 0
    failed: bool = False

    @property
    def accuracy(self) -> float:
        return self.correct / self.total if self.total else 0.0


def quorum_of(share: float, clients: int) -> int:
    """How many updates close a round at its deadline: max(1, min(ceil(share n), n - 1)).

    The product is rounded first: in floats 0.28 * 25 is a little above 7.
    """
    return max(1, min(math.ceil(round(share * clients, 9)), clients - 1))


def trained_samples(samples: int, epochs: float, batch_size: int) -> int:
    """Samples that a client of ``samples`` processes in a round: full batches only."""
    batch = min(batch_size, samples)
    return math.ceil(epochs * samples / batch) * batch


class Federation:
    """Plays rounds on a fleet, with their decisions in a journal.

    Parameters
    ----------
    fleet, journal, blobs
    seed : int
    shards : mapping
        Client -> (sha256 of its shard, samples).
    validation, calibration : str
        sha256 of the rows that candidates are ranked on, and of those that batch-norm statistics
        are recomputed on.
    quorum : float
        Share of a cohort.
    timeout : float or None
        Seconds from the first task that a worker takes to the end of a round; None waits.

    Attributes
    ----------
    last_failure : str
        Why the last task that failed did; empty if none has.
    """

    def __init__(
        self,
        fleet: Fleet,
        journal: Journal,
        blobs: Blobs,
        *,
        seed: int,
        shards: Mapping[str, tuple[str, int]],
        validation: str,
        calibration: str,
        quorum: float,
        timeout: float | None,
    ) -> None:
        self.fleet = fleet
        self.journal = journal
        self.blobs = blobs
        self.seed = seed
        self.shards = shards
        self.validation = validation
        self.calibration = calibration
        self.quorum = quorum
        self.timeout = timeout
        self.last_failure = ""

    async def do(self, task: Task) -> Result:
        """Run one task to its end."""
        return await asyncio.wrap_future(self.fleet.submit(task).future)

    async def play(self, round: Round) -> Outcome:
        """Train, average and evaluate; from the journal what it holds already."""
        aggregated = self.journal.records.get(f"{round.key}-aggregated")
        closed = self.journal.records.get(f"{round.key}-closed")
        if aggregated is not None:
            if closed is None:
                raise Corrupt(
                    f"journal: {round.key}-aggregated is there, but no {round.key}-closed"
                )
            return _outcome(aggregated.value)
        if closed is None:
            closed = self.journal.record(f"{round.key}-closed", await self._train(round))
        else:
            await self._restore(round, closed.value["updates"])
        updates = closed.value["updates"]
        if not updates:
            return Outcome(round.weights, failed=True)
        mean = await self.do(
            Task(
                id=f"{round.key}/aggregate",
                kind="aggregate",
                client=CLOUD,
                inputs={update["client"]: update["weights"] for update in updates},
                params={"weights": {update["client"]: update["samples"] for update in updates}},
            )
        )
        outcome = await self.evaluate(
            round.key,
            round.labels,
            round.architecture,
            mean.outputs["weights"],
            extra={"clients": len(updates)},
        )
        used = {update["weights"] for update in updates} | {mean.outputs["weights"]}
        for digest in used - {outcome.weights, round.weights}:
            self.blobs.delete(digest)
        return outcome

    async def evaluate(
        self,
        key: str,
        labels: Mapping[str, Any],
        architecture: Architecture,
        weights: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Recompute the batch-norm statistics, rank on the validation rows, and journal it."""
        done = self.journal.records.get(f"{key}-aggregated")
        if done is not None:
            return _outcome(done.value)
        result = await self.do(
            Task(
                id=f"{key}/evaluate",
                kind="evaluate",
                client=CLOUD,
                inputs={"weights": weights},
                params={"architecture": architecture.model_dump()},
                data={"shard": self.validation, "calibration": self.calibration},
            )
        )
        value = {
            **labels,
            **(extra or {}),
            "weights": result.outputs["weights"],
            "bytes": int(result.scalars["bytes"]),
            "correct": int(result.scalars["correct"]),
            "total": int(result.scalars["total"]),
        }
        return _outcome(self.journal.record(f"{key}-aggregated", value).value)

    async def _train(self, round: Round) -> dict[str, Any]:
        """The contents of the ``closed`` record."""
        for attempt in range(ATTEMPTS):
            cohort = round.cohort(attempt)
            results = await self._gather([self._task(round, client) for client in cohort.clients])
            if len(results) >= quorum_of(self.quorum, len(cohort.clients)):
                return {
                    **round.labels,
                    "group": cohort.group,
                    "updates": [
                        self._update(round, name, results[name]) for name in sorted(results)
                    ],
                    "missing": sorted(set(cohort.clients) - set(results)),
                }
        return {
            **round.labels,
            "group": cohort.group,
            "updates": [],
            "missing": sorted(cohort.clients),
        }

    async def _restore(self, round: Round, updates: Sequence[Mapping[str, Any]]) -> None:
        """Train again what a power cut took: the record is synced to disk, updates are not."""
        lost = {u["client"]: u["weights"] for u in updates if not self._intact(u["weights"])}
        results = await self._gather([self._task(round, client) for client in sorted(lost)])
        for client, digest in lost.items():
            if client not in results or results[client].outputs["weights"] != digest:
                raise Corrupt(
                    f"{self.blobs.store.uri(self.blobs.key(digest))}: the update of {client} in "
                    f"{round.key} is gone, and could not be made again"
                )

    def _intact(self, digest: str) -> bool:
        try:
            self.blobs.get(digest)
        except (Corrupt, NotFound):
            return False
        return True

    async def _gather(self, tasks: Sequence[Task]) -> dict[str, Result]:
        """Results by client, until all have come or the deadline has passed."""
        if not tasks:
            return {}
        waiting: dict[asyncio.Future[Result], Pending] = {}
        started: list[asyncio.Future[float]] = []
        for task in tasks:
            pending = self.fleet.submit(task)
            waiting[asyncio.wrap_future(pending.future)] = pending
            started.append(asyncio.wrap_future(pending.started))
        try:
            if self.timeout is not None:
                signs: list[asyncio.Future[Any]] = [*started, *waiting]
                await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(waiting, timeout=self.timeout)
        finally:
            for future, pending in waiting.items():
                if not future.done():
                    self.fleet.cancel(pending)
        results = {}
        for future, pending in waiting.items():
            if future.done() and not future.cancelled():
                error = future.exception()
                if error is None:
                    results[pending.task.client] = future.result()
                elif isinstance(error, TaskFailed):
                    self.last_failure = str(error)
                else:
                    raise error
        return results

    def _task(self, round: Round, client: str) -> Task:
        return Task(
            id=f"{round.key}/{client}",
            kind="train",
            client=client,
            inputs={"weights": round.weights},
            params={"architecture": round.architecture.model_dump(), **round.training},
            data={"shard": self.shards[client][0]},
            seed=derive_seed(
                self.seed,
                "train",
                round.iteration,
                round.phase,
                round.candidate,
                round.round,
                client,
            ),
        )

    def _update(self, round: Round, client: str, result: Result) -> dict[str, Any]:
        """One line of the counted ledger: nothing in it may depend on the run."""
        samples = self.shards[client][1]
        trained = trained_samples(samples, round.training["epochs"], round.training["batch_size"])
        size = int(result.scalars["bytes"])
        return {
            "client": client,
            "weights": result.outputs["weights"],
            "samples": samples,
            "trainedSamples": trained,
            "macs": 3 * round.macs * trained,
            "bytesDown": size,
            "bytesUp": size,
            "loss": result.scalars["loss"],
        }


def _outcome(value: Mapping[str, Any]) -> Outcome:
    return Outcome(value["weights"], value["correct"], value["total"])
