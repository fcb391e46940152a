"""The one resumable loop that drives a strategy, on a laptop and in a cluster alike.

Each step of the strategy is carried out on the fleet and written to the journal; what the journal
holds already is read back instead. Restarting is therefore nothing but running again: the strategy
is replayed over the journal's values and goes on after the last record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fednas.errors import SearchFailed
from fednas.federation import CLOUD, Cohort, Fleet, Outcome, Round, Task
from fednas.models import Architecture
from fednas.search._netadapt import net_adapt
from fednas.search._start import Inputs, Start, begin, check_identity, training_params
from fednas.search._strategy import (
    Decision,
    Ending,
    Entrant,
    Generate,
    NewRung,
    Outcomes,
    Problem,
    Rounds,
    Strategy,
)
from fednas.search._view import View
from fednas.spec import FederatedSearch
from fednas.store import Blobs, Journal, Layout, Record, Store, canonical_json

__all__ = ["run_search"]

UNTRAINED = 2.0
"""A start below this multiple of chance is refused: its candidates could not be ranked."""


def run_search(
    search: FederatedSearch,
    *,
    store: Store,
    layout: Layout,
    fleet: Fleet,
    inputs: Inputs,
    timeout: float | None,
    on_record: Callable[[Record], None] = lambda record: None,
    accept_new_numerics: bool = False,
) -> View:
    """Run a search to its end, or go on with one that was interrupted.

    Parameters
    ----------
    timeout : float or None
        Seconds that a round may take once a worker has begun it; None waits for every client.
    on_record : callable
        Called with each journal record, old ones first.

    Raises
    ------
    SearchFailed
        The search ended without a result; the journal says so too.
    BadInput
        The journal belongs to another spec, or to other numerics.
    """
    journal = _Observed(store, layout.journal, on_record)
    for record in journal.refresh():
        on_record(record)
    check_identity(search, journal)
    if "zzz-end" not in journal.records:
        asyncio.run(
            _conduct(
                search,
                store=store,
                layout=layout,
                journal=journal,
                fleet=fleet,
                inputs=inputs,
                round_timeout=timeout,
                accept_new_numerics=accept_new_numerics,
            )
        )
    view = View(journal.records.values())
    if view.end is not None and view.end["failed"]:
        raise SearchFailed(view.end["reason"], view.end["message"])
    return view


class _Observed(Journal):
    """A journal that tells of each record as it is written."""

    def __init__(self, store: Store, prefix: str, on_record: Callable[[Record], None]) -> None:
        super().__init__(store, prefix)
        self._on_record = on_record

    def record(self, key: str, value: Mapping[str, Any]) -> Record:
        new = key not in self.records
        record = super().record(key, value)
        if new:
            self._on_record(record)
        return record


async def _conduct(
    search: FederatedSearch, *, store: Store, layout: Layout, journal: Journal, **how: Any
) -> None:
    """From the start to the record of the end."""
    try:
        start = await begin(search, store=store, layout=layout, journal=journal, **how)
        ending = await _Search(search, store, layout, journal, start).run()
    except SearchFailed as failure:
        ending = Ending(failure.reason, str(failure), failed=True)
    view = View(journal.records.values())
    _export(store, layout, view)
    _keep(store, layout, set())
    journal.record(
        "zzz-end",
        {
            "reason": ending.reason,
            "message": ending.message,
            "failed": ending.failed,
            "rungs": len(view.ladder),
        },
    )


@dataclass
class _Search:
    """Carries out what a strategy yields."""

    search: FederatedSearch
    store: Store
    layout: Layout
    journal: Journal
    start: Start

    async def run(self) -> Ending:
        """From the starting network to an ending."""
        start, spec = self.start, self.search.spec
        await self._rung(0, "", start.network, start.outcome)
        chance = 1 / start.shards.classes
        if start.outcome.accuracy < UNTRAINED * chance:
            raise SearchFailed(
                "StartingNetworkUntrained",
                f"the starting network has an accuracy of {start.outcome.accuracy:.3f}, chance is "
                f"{chance:.3f}: give it more rounds (model.initial.training.rounds) or trained "
                "weights (model.initial.weights)",
            )
        problem = Problem(
            space=start.space,
            architecture=start.network,
            budget=spec.target.macs.share,
            groups=len(start.groups),
            seed=spec.seed,
        )
        settings = spec.strategy.net_adapt
        assert settings is not None, "the only member of this union"
        return await self._drive(net_adapt(settings, problem, start.outcome))

    # --- the steps -------------------------------------------------------------------------------

    async def _drive(self, strategy: Strategy) -> Ending:
        """Carry out what the strategy yields until it ends."""
        outcomes: Outcomes = {}
        try:
            step = next(strategy)
            while True:
                match step:
                    case Generate():
                        outcomes = await self._generate(step)
                    case Rounds():
                        outcomes = await self._rounds(step)
                    case Decision():
                        self.journal.record(
                            f"{step.iteration:03}/{step.kind}",
                            {"iteration": step.iteration, **step.evidence},
                        )
                        outcomes = {}
                    case NewRung():
                        candidate = step.candidate
                        await self._rung(
                            step.iteration,
                            candidate.name,
                            candidate.architecture,
                            step.outcome,
                        )
                        if f"{step.iteration + 1:03}/generated" not in self.journal.records:
                            _keep(
                                self.store,
                                self.layout,
                                {step.outcome.weights, self.start.space_digest},
                            )
                        outcomes = {}
                step = strategy.send(outcomes)
        except StopIteration as end:
            ending: Ending = end.value
            return ending

    async def _generate(self, step: Generate) -> Outcomes:
        self.journal.record(
            f"{step.iteration:03}/generated",
            {
                "iteration": step.iteration,
                "macs": step.macs,
                "target": step.target,
                "candidates": [
                    {
                        "candidate": candidate.name,
                        "layer": candidate.name,
                        "widthBefore": candidate.width_before,
                        "widthAfter": candidate.width_after,
                        "widths": list(candidate.architecture.widths),
                        "macs": candidate.macs,
                        "params": candidate.params,
                        "reachedTarget": candidate.reached_target,
                    }
                    for candidate in step.candidates
                ],
            },
        )

        async def cut(name: str, architecture: Architecture) -> Outcome:
            key = f"{step.iteration:03}/cut/{name}/00"
            done = self.journal.records.get(f"{key}-aggregated")
            weights = ""
            if done is None:
                derived = await self.start.federation.do(
                    Task(
                        id=f"{key}/derive",
                        kind="derive",
                        client=CLOUD,
                        inputs={"weights": step.weights, "space": self.start.space_digest},
                        params={
                            "parent": step.parent.model_dump(),
                            "child": architecture.model_dump(),
                        },
                    )
                )
                weights = derived.outputs["weights"]
            labels = {"iteration": step.iteration, "phase": "cut", "candidate": name, "round": 0}
            return await self.start.federation.evaluate(key, labels, architecture, weights)

        names = [candidate.name for candidate in step.candidates]
        cuts = [cut(candidate.name, candidate.architecture) for candidate in step.candidates]
        return dict(zip(names, await asyncio.gather(*cuts), strict=True))

    async def _rounds(self, step: Rounds) -> Outcomes:
        def round_of(entrant: Entrant) -> Round:
            def cohort(attempt: int) -> Cohort:
                group = (entrant.group + attempt) % len(self.start.groups)
                return Cohort(self.start.groups[group], group)

            return Round(
                iteration=step.iteration,
                phase=step.phase,
                candidate=entrant.candidate.name,
                round=step.round,
                architecture=entrant.candidate.architecture,
                weights=entrant.weights,
                macs=entrant.candidate.macs,
                training=training_params(self.search.spec.training),
                cohort=cohort,
            )

        names = [entrant.candidate.name for entrant in step.entrants]
        played = [self.start.federation.play(round_of(entrant)) for entrant in step.entrants]
        return dict(zip(names, await asyncio.gather(*played), strict=True))

    async def _rung(
        self,
        iteration: int,
        candidate: str,
        architecture: Architecture,
        outcome: Outcome,
    ) -> None:
        """Put a network on the ladder: its weights, and its accuracy on the test rows."""
        key = f"{iteration:03}/rung"
        if key not in self.journal.records:
            correct, total = outcome.correct, outcome.total
            if self.start.shards.test is not None:
                tested = await self.start.federation.do(
                    Task(
                        id=f"{key}/test",
                        kind="evaluate",
                        client=CLOUD,
                        inputs={"weights": outcome.weights},
                        params={"architecture": architecture.model_dump()},
                        data={"shard": self.start.shards.test.shard},
                    )
                )
                correct, total = int(tested.scalars["correct"]), int(tested.scalars["total"])
            self.store.put(
                f"{self.layout.ladder}rung-{iteration:02}.safetensors",
                Blobs(self.store, self.layout.blobs).get(outcome.weights),
                durable=True,
            )
            self.journal.record(
                key,
                {
                    "rung": iteration,
                    "iteration": iteration,
                    "candidate": candidate,
                    "architecture": architecture.model_dump(),
                    "weights": outcome.weights,
                    "macs": self.start.space.macs(architecture.widths),
                    "params": self.start.space.params(architecture.widths),
                    "correct": correct,
                    "total": total,
                    "validationCorrect": outcome.correct,
                    "validationTotal": outcome.total,
                },
            )
        _export(self.store, self.layout, View(self.journal.records.values()))


def _export(store: Store, layout: Layout, view: View) -> None:
    """The ladder and the ledger as files for people; views of the journal, written anew."""
    for name, value in (("ladder", view.ladder_rows), ("ledger", view.ledger.to_dict())):
        store.put(f"{layout.ladder}{name}.json", canonical_json(value))


def _keep(store: Store, layout: Layout, digests: set[str]) -> None:
    """Remove every other blob; nothing is in flight when a rung has been written."""
    keep = {Blobs(store, layout.blobs).key(digest) for digest in digests}
    for prefix in (layout.blobs, layout.uploads):
        for entry in list(store.list(prefix)):
            if entry.key not in keep:
                store.delete(entry.key)
