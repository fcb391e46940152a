"""Rounds with their decisions in the journal: played once, and read back from then on.

The set of updates that counts is journalled before it is averaged (`Closed`), and the average with
its evaluation afterwards (`Scored`). A round that is replayed obeys both entries, so it ends in the
same bits however often the process was killed in between.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict, replace

from fednas.errors import Corrupt, NotFound, TrainingDiverged
from fednas.federation import Closing, Failure, Federation, Round, RoundId, Updates
from fednas.models import Architecture, Model
from fednas.objective import DIVERGENCE, Objective
from fednas.search._entries import Closed, Computed, Led, Scored, Won
from fednas.search._parts import Reason, Totals
from fednas.search._private import Private
from fednas.search._recorder import Recorder
from fednas.search._strategy import Compare, Compute, Outcome
from fednas.spec import Distillation
from fednas.store import Blobs
from fednas.work import TaskResult

__all__ = ["Player", "outcome_of"]


class Player:
    """Plays rounds, evaluations and computations of one search.

    Parameters
    ----------
    federation : Federation
    recorder : Recorder
    blobs : Blobs
        Of weights.
    tables : Blobs
        Of the updates of rounds.
    private : Private or None
        Where clients are promised privacy.
    """

    def __init__(
        self,
        federation: Federation,
        recorder: Recorder,
        blobs: Blobs,
        tables: Blobs,
        private: Private | None = None,
    ) -> None:
        self._federation = federation
        self._recorder = recorder
        self._view = recorder.view
        self._blobs = blobs
        self._tables = tables
        self._private = private

    async def play(self, round: Round) -> Outcome:
        """Train, average and evaluate; from the journal what it holds already."""
        scored = self._view.get(Scored, round.id)
        if scored is not None:
            return self._outcome(scored, round.model)
        closed = self._view.get(Closed, round.id)
        if closed is None:
            closed, updates = await self._close(round)
        else:
            updates = await self._restore(round, closed)
        if updates is None:
            assert closed.failure is not None, "there is a reason for no quorum"
            failure = Failure(closed.failure.reason, closed.failure.message)
            return Outcome(round.model, {}, 0.0, math.inf, failed=failure)
        means = await self._mean(round, closed, updates)
        outcome = await self.evaluate(round.id, round.model.having(means))
        used = {digest for digests in updates.digests.values() for digest in digests}
        used |= set(means.values())
        kept = {*outcome.model.blobs.values(), *round.model.blobs.values()}
        await asyncio.to_thread(self._blobs.delete, *sorted(used - kept))
        return outcome

    async def cut(
        self, id: RoundId, source: Model, child: Architecture, *, divergence: bool
    ) -> Outcome:
        """Cut a network, count on the validation rows, and journal it."""
        scored = self._view.get(Scored, id)
        if scored is None:
            reference = source if divergence else None
            cut = await self._federation.cut(id.key, source, child, reference=reference)
            scored = await self._score(id, *cut)
        return self._outcome(scored, Model(child, {}))

    async def distil(self, id: RoundId, model: Model, teacher: Model, how: Distillation) -> Outcome:
        """Teach a network another's answers, count on the validation rows, and journal it.

        One that diverges would do so again: it has failed.
        """
        scored = self._view.get(Scored, id)
        if scored is None:
            try:
                taught = await self._federation.distil(id.key, model, teacher, how)
            except TrainingDiverged as error:
                failed = Failure(error.reason, str(error))
                return Outcome(model, {}, 0.0, math.inf, failed=failed)
            scored = await self._score(id, *taught)
        return self._outcome(scored, model)

    async def evaluate(self, id: RoundId, model: Model) -> Outcome:
        """Recompute the batch-norm statistics, count on the validation rows, and journal it."""
        scored = self._view.get(Scored, id)
        if scored is None:
            evaluated = await self._federation.evaluate(f"{id.key}/evaluate", model)
            scored = await self._score(id, *evaluated)
        return self._outcome(scored, model)

    async def _score(self, id: RoundId, model: Model, done: TaskResult) -> Scored:
        counted = (*self._view.objective.sums, DIVERGENCE)
        sums = {name: done.sums[name] for name in counted if name in done.sums}
        scored = Scored(id=id, blobs=dict(model.blobs), sums=sums)
        await self._recorder.write(scored)
        return scored

    async def compute(self, step: Compute) -> TaskResult:
        """Work of the cloud, journalled."""
        computed = self._view.get(Computed, step.id)
        if computed is None:
            done = await self._federation.do(
                step.kind.task(
                    f"{step.id.key}/{step.kind.name}",
                    step.params,
                    inputs=step.inputs,
                    seed=step.seed,
                )
            )
            computed = Computed(id=step.id, outputs=done.outputs, sums=done.sums)
            await self._recorder.write(computed)
        return TaskResult(outputs=computed.outputs, sums=computed.sums)

    async def compare(self, step: Compare) -> None:
        """Winner and runner-up image by image, journalled; not once the winner has won.

        The runner-up's blobs may be gone then, and whoever began the search may not have asked.
        """
        at, entries = step.iteration, self._view.entries
        if Led.key_of(at) in entries or Won.key_of(at) in entries:
            return
        winner, runner_up = (step.outcomes[name].model for name in (step.winner, step.runner_up))
        reference = step.source if step.by == "divergence" else None
        done = await self._federation.compare(
            f"{at:04}/compare", winner, runner_up, reference=reference
        )
        await self._recorder.write(
            Led(
                iteration=at,
                winner=step.winner,
                runner_up=step.runner_up,
                by=step.by,
                sums=done.sums,
            )
        )

    def _outcome(self, scored: Scored, model: Model) -> Outcome:
        closed = self._view.get(Closed, scored.id)
        outcome = outcome_of(self._view.objective, model.having(scored.blobs), scored.sums)
        return replace(outcome, trained=closed.totals.trained if closed else 0)

    async def _close(self, round: Round) -> tuple[Closed, Updates | None]:
        """Train, and write which updates count."""
        closing = await self._federation.train(round)
        updates, digest = closing.updates, None
        if updates is not None:
            digest = await asyncio.to_thread(self._keep, updates)
        closed = _closed(round.id, closing, digest)
        await self._recorder.write(closed)
        return closed, updates

    async def _mean(self, round: Round, closed: Closed, updates: Updates) -> dict[str, str]:
        """Of the updates that count: name -> sha256."""
        if self._private is None:
            return await self._federation.aggregate(round.id, updates)
        clients = self._clients(updates)
        return await self._private.release(round, updates, [*clients, *closed.missing])

    def _clients(self, updates: Updates) -> list[str]:
        names = sorted(self._federation.members)
        return [names[index] for index in updates.clients]

    def _keep(self, updates: Updates) -> str:
        return self._tables.put(updates.encode(), durable=True)

    async def _restore(self, round: Round, closed: Closed) -> Updates | None:
        """Train again what a power cut took: the entry is synced to disk, updates are not."""
        if closed.updates is None:
            return None
        updates = Updates.decode(await asyncio.to_thread(self._tables.get, closed.updates))
        lost = await asyncio.to_thread(self._lost, self._clients(updates), updates)
        results = await self._federation.again(round, sorted(lost))
        for client, digests in lost.items():
            if client not in results or results[client].outputs != digests:
                raise Corrupt(
                    f"{self._blobs.store.uri(self._blobs.prefix)}: the update of {client} in "
                    f"{round.id.key} is gone, and could not be made again"
                )
        return updates

    def _lost(self, clients: list[str], updates: Updates) -> Mapping[str, dict[str, str]]:
        """Clients whose blobs are gone or damaged, with what their outputs were."""
        lost = {}
        for index, client in enumerate(clients):
            digests = {name: column[index] for name, column in updates.digests.items()}
            if not all(map(self._intact, digests.values())):
                lost[client] = digests
        return lost

    def _intact(self, digest: str) -> bool:
        try:
            self._blobs.get(digest)
        except (Corrupt, NotFound):
            return False
        return True


def outcome_of(objective: Objective, model: Model, sums: Mapping[str, float]) -> Outcome:
    """A network with what was counted of it."""
    return Outcome(model, sums, objective.score(sums), objective.loss(sums))


def _closed(id: RoundId, closing: Closing, digest: str | None) -> Closed:
    updates, failure = closing.updates, closing.failure
    totals = Totals(clients=0, trained=0, macs=0, bytes_down=0, bytes_up=0)
    if updates is not None:
        totals = Totals(
            clients=len(updates),
            trained=updates.total("trained"),
            macs=updates.total("macs"),
            bytes_down=updates.total("bytes_down"),
            bytes_up=updates.total("bytes_up"),
        )
    return Closed(
        id=id,
        group=closing.cohort.group,
        updates=digest,
        totals=totals,
        metrics={name: updates.mean(name) for name in updates.metrics} if updates else {},
        missing=closing.missing,
        failure=None if failure is None else Reason(**asdict(failure)),
    )
