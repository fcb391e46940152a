"""One federated round: a cohort trains, the round closes on quorum, the updates are averaged.

Nothing is journalled here: a round is played once, by whoever keeps the journal, and what closed it
(`Closing`) decides everything that follows.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fednas.errors import FednasError, TaskFailed, TrainingDiverged
from fednas.federation._gather import Gathering
from fednas.federation._id import RoundId
from fednas.federation._updates import COUNTS, Updates
from fednas.models import Architecture, Model
from fednas.seeds import derive_seed
from fednas.spec import Distillation
from fednas.work import (
    AGGREGATE,
    COMPARE,
    DERIVE,
    DISTIL,
    EVALUATE,
    Aggregate,
    Compare,
    Derive,
    Distil,
    Evaluate,
    Kind,
    Params,
    Task,
    TaskResult,
)

__all__ = ["Closing", "Cohort", "Failure", "Federation", "Member", "Round", "quorum_of"]

ATTEMPTS = 3
"""How often a round is tried, on another cohort each time, before its candidate has failed."""


@dataclass(frozen=True)
class Cohort:
    """The clients of one attempt of a round, and the index of their group (None: drawn)."""

    clients: tuple[str, ...]
    group: int | None = None


@dataclass(frozen=True)
class Member:
    """A client of the federation: the sha256 of its shard, and rows of it."""

    shard: str
    samples: int


@dataclass(frozen=True)
class Failure:
    """Why something gave no result: a CamelCase reason, and in words."""

    reason: str
    message: str


@dataclass(frozen=True)
class Round:
    """What is to be trained.

    Parameters
    ----------
    id : RoundId
    model : Model
        What every client starts from.
    macs : int
        Forward multiply-accumulates of one sample.
    kind : Kind
        What the clients do.
    params : Params
        Of that kind.
    cohort : callable
        Attempt (0, 1, ...) -> who trains.
    """

    id: RoundId
    model: Model
    macs: int
    kind: Kind[Any]
    params: Params
    cohort: Callable[[int], Cohort]


@dataclass(frozen=True)
class Closing:
    """How a round closed.

    Parameters
    ----------
    cohort : Cohort
        Of the last attempt.
    updates : Updates or None
        None where no attempt had a quorum.
    missing : tuple of str
        Clients of the cohort that gave no update.
    failure : Failure or None
        Why the last of them that failed did.
    """

    cohort: Cohort
    updates: Updates | None
    missing: tuple[str, ...] = ()
    failure: Failure | None = None


def quorum_of(share: float, clients: int) -> int:
    """How many updates close a round at its deadline: max(1, min(ceil(share n), n - 1)).

    The product is rounded first: in floats 0.28 * 25 is a little above 7.
    """
    return max(1, min(math.ceil(round(share * clients, 9)), clients - 1))


class Federation:
    """Plays rounds.

    Parameters
    ----------
    gathering : Gathering
        Has tasks done.
    seed : int
        Of the search.
    members : mapping
        Client -> what is known of it.
    validation, calibration : str
        sha256 of the rows that candidates are ranked on, and of those that batch-norm statistics
        are recomputed on.
    space : str
        sha256 of the space, by which networks are cut.
    refit : bool
        Whether what reads a cut layer is refitted on the calibration rows.
    quorum : float
        Share of a cohort.
    """

    def __init__(
        self,
        gathering: Gathering,
        *,
        seed: int,
        members: Mapping[str, Member],
        validation: str,
        calibration: str,
        space: str,
        refit: bool,
        quorum: float,
    ) -> None:
        self.members = members
        self.quorum = quorum
        self._seed = seed
        self._validation = validation
        self._calibration = calibration
        self._space = space
        self._refit = refit
        self._index = {name: index for index, name in enumerate(sorted(members))}
        self._gathering = gathering

    async def do(self, task: Task) -> TaskResult:
        """Run one task of the cloud to its end."""
        return await self._gathering.one(task)

    async def train(self, round: Round) -> Closing:
        """Have a cohort train; another one where it finds no quorum."""
        for attempt in range(ATTEMPTS):
            cohort = round.cohort(attempt)
            size = len(cohort.clients)
            tasks = await asyncio.to_thread(self._tasks, round, cohort.clients)
            results, errors = await self._gathering.all(tasks)
            enough = quorum_of(self.quorum, size)
            missing = tuple(sorted(set(cohort.clients) - set(results)))
            closing = Closing(cohort, None, missing, _failure(errors, missing, size))
            if len(results) >= enough:
                updates = await asyncio.to_thread(self._updates, round, results)
                return Closing(cohort, updates, missing, closing.failure)
            diverged = sum(isinstance(error, TrainingDiverged) for error in errors.values())
            if diverged > size - enough:  # deterministic, and no fault of who was drawn
                break
        return closing

    async def again(self, round: Round, clients: Sequence[str]) -> dict[str, TaskResult]:
        """Have some clients do their task of a round again, whose updates were lost."""
        results, _ = await self._gathering.all(self._tasks(round, clients))
        return results

    async def aggregate(self, id: RoundId, updates: Updates) -> dict[str, str]:
        """Average each output by name: name -> sha256 of the mean."""
        names = sorted(self._index)
        clients = [names[index] for index in updates.clients]
        weights = dict(zip(clients, updates.counts["samples"].tolist(), strict=True))
        means = {}
        for output, digests in sorted(updates.digests.items()):
            done = await self.do(
                AGGREGATE.task(
                    f"{id.key}/aggregate/{output}",
                    Aggregate(weights=weights),
                    inputs=dict(zip(clients, digests, strict=True)),
                )
            )
            means[output] = done.outputs["mean"]
        return means

    async def cut(
        self, id: str, parent: Model, child: Architecture, *, reference: Model | None = None
    ) -> tuple[Model, TaskResult]:
        """Cut a network down to another's widths, and evaluate it on the validation rows.

        Its divergence from the answers of ``reference`` is counted, too.
        """
        done = await self.do(
            DERIVE.task(
                f"{id}/derive",
                Derive(parent=parent.architecture, child=child),
                inputs={"weights": parent.weights, "space": self._space},
                data={"calibration": self._calibration} if self._refit else {},
            )
        )
        cut = Model(child, done.outputs)
        if self._refit:  # with statistics of the calibration rows already
            return await self.evaluate(
                f"{id}/evaluate", cut, shard=self._validation, reference=reference
            )
        return await self.evaluate(f"{id}/evaluate", cut, reference=reference)

    async def evaluate(
        self, id: str, model: Model, *, shard: str | None = None, reference: Model | None = None
    ) -> tuple[Model, TaskResult]:
        """Evaluate on the validation rows, with statistics recomputed; or as it is on ``shard``."""
        data = (
            {"shard": self._validation, "calibration": self._calibration}
            if shard is None
            else {"shard": shard}
        )
        done = await self.do(
            EVALUATE.task(
                id,
                Evaluate(
                    architecture=model.architecture,
                    reference=reference.architecture if reference else None,
                ),
                inputs={**model.blobs, **_weights_of(reference)},
                data=data,
            )
        )
        return model.having(done.outputs), done

    async def distil(
        self, id: str, model: Model, teacher: Model, how: Distillation
    ) -> tuple[Model, TaskResult]:
        """Teach a network another's answers to the validation rows, and evaluate it on them.

        Its batch-norm statistics are those that it had.
        """
        done = await self.do(
            DISTIL.task(
                f"{id}/distil",
                Distil.by(how, model.architecture, teacher.architecture),
                inputs={"weights": model.weights, "teacher": teacher.weights},
                data={"shard": self._validation},
                seed=derive_seed(self._seed, DISTIL.name, id),
            )
        )
        taught = model.having(done.outputs)
        return await self.evaluate(f"{id}/evaluate", taught, shard=self._validation)

    async def compare(
        self, id: str, model: Model, rival: Model, *, reference: Model | None = None
    ) -> TaskResult:
        """Two networks as they are, image by image of the validation rows."""
        return await self.do(
            COMPARE.task(
                id,
                Compare(
                    architecture=model.architecture,
                    rival=rival.architecture,
                    reference=reference.architecture if reference else None,
                ),
                inputs={
                    "weights": model.weights,
                    "rival": rival.weights,
                    **_weights_of(reference),
                },
                data={"shard": self._validation},
            )
        )

    def _tasks(self, round: Round, clients: Sequence[str]) -> list[Task]:
        at = round.id
        first = round.kind.task(at.key, round.params, inputs=round.model.blobs)
        return [
            first.model_copy(
                update={
                    "id": f"{at.key}/{client}",
                    "client": client,
                    "data": {"shard": self.members[client].shard},
                    "seed": derive_seed(
                        self._seed,
                        round.kind.name,
                        at.iteration,
                        at.phase,
                        at.subject,
                        at.number,
                        client,
                    ),
                }
            )
            for client in clients
        ]

    def _updates(self, round: Round, results: Mapping[str, TaskResult]) -> Updates:
        """The lines of the counted ledger: nothing in them may depend on the run."""
        kind, clients = round.kind, sorted(results)
        rows = [self.members[client].samples for client in clients]
        trained = [kind.samples(round.params, count) for count in rows]
        size = [sum(results[client].sizes.values()) for client in clients]
        columns = {
            "samples": rows,
            "trained": trained,
            "macs": [kind.passes * round.macs * count for count in trained],
            "bytes_down": size,
            "bytes_up": size,
        }
        return Updates(
            clients=np.array([self._index[client] for client in clients], np.int32),
            digests={
                output.name: [results[client].outputs[output.name] for client in clients]
                for output in kind.outputs
            },
            counts={name: np.array(columns[name], np.int64) for name in COUNTS},
            metrics={
                name: np.array([results[client].sums[name] for client in clients])
                for name in kind.sums
                if name != "samples"
            },
        )


def _weights_of(reference: Model | None) -> dict[str, str]:
    return {"reference": reference.weights} if reference else {}


def _failure(
    errors: Mapping[str, FednasError], missing: Sequence[str], size: int
) -> Failure | None:
    """The failure to tell of: divergence before all others, for it needs another spec."""
    if not missing:
        return None
    told = sorted(errors.items(), key=lambda item: isinstance(item[1], TrainingDiverged))
    if not told:
        return Failure("QuorumMissed", f"{len(missing)} of {size} clients gave no update in time")
    client, error = told[-1]
    reason = error.reason if isinstance(error, TaskFailed) else "TaskFailed"
    return Failure(reason, f"{client}: {error}"[:500])
