"""The one resumable loop that drives a strategy, on a laptop and in a cluster alike.

Each step of the strategy is carried out on the fleet and written to the journal; what the journal
holds already is read back instead. Restarting is therefore nothing but running again: the strategy
is replayed over the journal's values and goes on after the last record.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fednas.data import Shards
from fednas.errors import BadInput, Corrupt, DataError, SearchFailed
from fednas.federation import (
    CLOUD,
    Cohort,
    Federation,
    Fleet,
    Outcome,
    Round,
    Task,
    default_group_count,
    longest_processing_time,
    round_robin,
)
from fednas.models import Architecture, decode, start_architecture
from fednas.search._draw import draw_clients
from fednas.search._netadapt import net_adapt
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
from fednas.seeds import derive_seed
from fednas.space import Space
from fednas.spec import FederatedSearch, NetAdapt, clients, differences, identity
from fednas.store import Blobs, Journal, Layout, Record, Store, canonical_json

__all__ = ["Inputs", "run_search"]

UNTRAINED = 2.0
"""A start below this multiple of chance is refused: its candidates could not be ranked."""


@dataclass(frozen=True)
class Inputs:
    """What a search reads from outside, as callables so that a replay need not read it again.

    Parameters
    ----------
    shards : callable
        Cuts the data set into shards in the store (or finds them there).
    weights : callable
        The blob of the start weights, where the spec names some.
    """

    shards: Callable[[], Shards]
    weights: Callable[[], bytes]


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
    loop = _Search(
        search,
        store=store,
        layout=layout,
        blobs=Blobs(store, layout.blobs),
        journal=journal,
        fleet=fleet,
        inputs=inputs,
        timeout=timeout,
        accept_new_numerics=accept_new_numerics,
    )
    loop.check_identity()
    if "zzz-end" not in journal.records:
        asyncio.run(loop.run())
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


@dataclass
class _Search:
    search: FederatedSearch
    store: Store
    layout: Layout
    blobs: Blobs
    journal: Journal
    fleet: Fleet
    inputs: Inputs
    timeout: float | None
    accept_new_numerics: bool
    shards: Shards = field(init=False)
    space: Space = field(init=False)
    space_digest: str = field(init=False)
    groups: tuple[tuple[str, ...], ...] = field(init=False)
    federation: Federation = field(init=False)

    @property
    def settings(self) -> NetAdapt:
        chosen = self.search.spec.strategy.net_adapt
        assert chosen is not None, "the only member of this union"
        return chosen

    async def run(self) -> None:
        try:
            problem, start = await self._start()
            ending = await self._drive(net_adapt(self.settings, problem, start))
        except SearchFailed as failure:
            ending = Ending(failure.reason, str(failure), failed=True)
        view = View(self.journal.records.values())
        self._export(view)
        self.journal.record(
            "zzz-end",
            {
                "reason": ending.reason,
                "message": ending.message,
                "failed": ending.failed,
                "rungs": len(view.ladder),
            },
        )
        self._keep(set())

    # --- the start -------------------------------------------------------------------------------

    async def _start(self) -> tuple[Problem, Outcome]:
        spec = self.search.spec
        self.shards = self.inputs.shards()
        channels, size, _ = self.shards.input
        network = start_architecture(
            spec.model.name,
            channels=channels,
            size=size,
            classes=self.shards.classes,
            width_multiplier=spec.model.args.width_multiplier,
        )
        self.federation = Federation(
            self.fleet,
            self.journal,
            self.blobs,
            seed=spec.seed,
            shards={name: (s.shard, s.samples) for name, s in self.shards.clients.items()},
            validation=self.shards.validation.shard,
            calibration=self.shards.calibration.shard,
            quorum=spec.federation.quorum,
            timeout=self.timeout,
        )
        traced = await self.federation.do(
            Task(
                id="000-trace",
                kind="trace",
                client=CLOUD,
                params={"architecture": network.model_dump()},
            )
        )
        self.space_digest = traced.outputs["space"]
        self.space = Space.from_json(self.blobs.get(self.space_digest))
        numerics = json.loads(self.blobs.get(traced.outputs["numerics"]))
        self.groups = self._make_groups()
        start_weights = self._start_weights(network)
        self._record_start(network, numerics)
        self.store.put(f"{self.layout.ladder}search.json", canonical_json(self.search.to_dict()))
        outcome = await self._trained(network, start_weights)
        await self._rung(0, 0, "", network, outcome)
        chance = 1 / self.shards.classes
        if outcome.accuracy < UNTRAINED * chance:
            raise SearchFailed(
                "StartingNetworkUntrained",
                f"the starting network has an accuracy of {outcome.accuracy:.3f}, chance is "
                f"{chance:.3f}: "
                "give it more rounds (model.initial.training.rounds) or trained weights "
                "(model.initial.weights)",
            )
        problem = Problem(
            space=self.space,
            architecture=network,
            budget=spec.target.macs.share,
            groups=len(self.groups),
            seed=spec.seed,
        )
        return problem, outcome

    def check_identity(self) -> None:
        """`BadInput` if the journal was begun with another spec."""
        started = self.journal.records.get("000-start")
        if started is None:
            return
        changed = differences(started.value["spec"], identity(self.search))
        if changed:
            raise BadInput(
                "this search was started with another spec; undo the change or start a new one:\n  "
                + "\n  ".join(changed)
            )

    def _make_groups(self) -> tuple[tuple[str, ...], ...]:
        spec = self.search.spec
        samples = {name: shard.samples for name, shard in self.shards.clients.items()}
        count = self.settings.client_groups or default_group_count(
            len(self.space.groups), len(samples)
        )
        if spec.data.partition.iid is not None:
            return round_robin([client.name for client in clients(self.search)], count)
        return longest_processing_time(samples, count)

    def _record_start(self, network: Architecture, numerics: Mapping[str, Any]) -> None:
        started = self.journal.records.get("000-start")
        if started is not None:
            before = started.value["numerics"]
            if before != numerics and not self.accept_new_numerics:
                raise BadInput(
                    f"this search ran with {_words(before)}, here is {_words(numerics)}: its bits "
                    "would change; go on where it began, or pass --accept-new-numerics"
                )
            if started.value["data"] != self.shards.digest:
                raise DataError(
                    "data.source: these are not the data that this search began with; "
                    "put them back or start a new search"
                )
            return
        self.journal.record(
            "000-start",
            {
                "name": self.search.metadata.name,
                "spec": identity(self.search),
                "numerics": numerics,
                "data": self.shards.digest,
                "input": list(self.shards.input),
                "classes": self.shards.classes,
                "testRows": self.shards.test is not None,
                "architecture": network.model_dump(),
                "macs": self.space.macs(network.widths),
                "params": self.space.params(network.widths),
                "layers": [
                    {"name": group.name, "width": group.width} for group in self.space.groups
                ],
                "leftOut": [left.model_dump() for left in self.space.left_out],
                "groups": [list(group) for group in self.groups],
                "clients": {
                    client.name: {
                        "deviceClass": client.device_class,
                        "samples": self.shards.clients[client.name].samples,
                    }
                    for client in clients(self.search)
                },
            },
        )

    def _start_weights(self, network: Architecture) -> str | None:
        """The sha256 of the weights that the spec names, checked before anything is recorded."""
        path = self.search.spec.model.initial.weights
        if path is None:
            return None
        done = self.journal.records.get("000-initial/00-aggregated")
        if done is not None:
            return str(done.value["weights"])
        blob = self.inputs.weights()
        wrong = None
        try:
            vector = decode(blob)
        except Corrupt as error:
            wrong = str(error)
        else:
            size = sum(math.prod(shape) for shape in self.space.shapes(network.widths).values())
            if vector.size != size:
                wrong = f"holds {vector.size} numbers; this network has {size}"
            elif not np.isfinite(vector).all():
                wrong = "holds NaN or infinity"
        if wrong is not None:
            raise DataError(
                f"spec.model.initial.weights: {path}: {wrong}; must be a rung-NN.safetensors of "
                "the same network"
            )
        return self.blobs.put(blob, durable=True)

    async def _trained(self, network: Architecture, weights: str | None) -> Outcome:
        """The starting network: from weights, or by federated averaging from scratch."""
        spec = self.search.spec
        labels = {"iteration": 0, "phase": "initial", "candidate": "", "round": 0}
        training = spec.model.initial.training
        if training is None:
            assert weights is not None
            return await self.federation.evaluate("000-initial/00", labels, network, weights)
        initial = await self.federation.do(
            Task(
                id="000-initialise",
                kind="initialise",
                client=CLOUD,
                params={"architecture": network.model_dump()},
                seed=derive_seed(spec.seed, "initialise"),
            )
        )
        outcome = Outcome(initial.outputs["weights"])
        names = sorted(self.shards.clients)
        for number in range(1, training.rounds + 1):

            def cohort(attempt: int, number: int = number) -> Cohort:
                seed = derive_seed(spec.seed, "cohort", "initial", number, attempt)
                return Cohort(draw_clients(names, training.clients_per_round, seed))

            outcome = await self.federation.play(
                Round(
                    iteration=0,
                    phase="initial",
                    candidate="",
                    round=number,
                    architecture=network,
                    weights=outcome.weights,
                    macs=self.space.macs(network.widths),
                    training=_training(training),
                    cohort=cohort,
                )
            )
            if outcome.failed:
                why = self.federation.last_failure
                raise SearchFailed(
                    "QuorumMissed",
                    f"round {number} of the initial training had no quorum on three cohorts"
                    + (f"; last: {why}" if why else ""),
                )
        return outcome

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
                            step.iteration,
                            candidate.name,
                            candidate.architecture,
                            step.outcome,
                        )
                        if f"{step.iteration + 1:03}/generated" not in self.journal.records:
                            self._keep({step.outcome.weights, self.space_digest})
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
                derived = await self.federation.do(
                    Task(
                        id=f"{key}/derive",
                        kind="derive",
                        client=CLOUD,
                        inputs={"weights": step.weights, "space": self.space_digest},
                        params={
                            "parent": step.parent.model_dump(),
                            "child": architecture.model_dump(),
                        },
                    )
                )
                weights = derived.outputs["weights"]
            labels = {"iteration": step.iteration, "phase": "cut", "candidate": name, "round": 0}
            return await self.federation.evaluate(key, labels, architecture, weights)

        names = [candidate.name for candidate in step.candidates]
        cuts = [cut(candidate.name, candidate.architecture) for candidate in step.candidates]
        return dict(zip(names, await asyncio.gather(*cuts), strict=True))

    async def _rounds(self, step: Rounds) -> Outcomes:
        def round_of(entrant: Entrant) -> Round:
            def cohort(attempt: int) -> Cohort:
                group = (entrant.group + attempt) % len(self.groups)
                return Cohort(self.groups[group], group)

            return Round(
                iteration=step.iteration,
                phase=step.phase,
                candidate=entrant.candidate.name,
                round=step.round,
                architecture=entrant.candidate.architecture,
                weights=entrant.weights,
                macs=entrant.candidate.macs,
                training=_training(self.search.spec.training),
                cohort=cohort,
            )

        names = [entrant.candidate.name for entrant in step.entrants]
        played = [self.federation.play(round_of(entrant)) for entrant in step.entrants]
        return dict(zip(names, await asyncio.gather(*played), strict=True))

    async def _rung(
        self,
        number: int,
        iteration: int,
        candidate: str,
        architecture: Architecture,
        outcome: Outcome,
    ) -> None:
        """Put a network on the ladder: its weights, and its accuracy on the test rows."""
        key = f"{iteration:03}/rung"
        if key not in self.journal.records:
            correct, total = outcome.correct, outcome.total
            if self.shards.test is not None:
                tested = await self.federation.do(
                    Task(
                        id=f"{key}/test",
                        kind="evaluate",
                        client=CLOUD,
                        inputs={"weights": outcome.weights},
                        params={"architecture": architecture.model_dump()},
                        data={"shard": self.shards.test.shard},
                    )
                )
                correct, total = int(tested.scalars["correct"]), int(tested.scalars["total"])
            self.store.put(
                f"{self.layout.ladder}rung-{number:02}.safetensors",
                self.blobs.get(outcome.weights),
                durable=True,
            )
            self.journal.record(
                key,
                {
                    "rung": number,
                    "iteration": iteration,
                    "candidate": candidate,
                    "architecture": architecture.model_dump(),
                    "weights": outcome.weights,
                    "macs": self.space.macs(architecture.widths),
                    "params": self.space.params(architecture.widths),
                    "correct": correct,
                    "total": total,
                    "validationCorrect": outcome.correct,
                    "validationTotal": outcome.total,
                },
            )
        self._export(View(self.journal.records.values()))

    def _export(self, view: View) -> None:
        """The ladder and the ledger as files for people; views of the journal, written anew."""
        for name, value in (("ladder", view.ladder_rows), ("ledger", view.ledger.to_dict())):
            self.store.put(f"{self.layout.ladder}{name}.json", canonical_json(value))

    def _keep(self, digests: set[str]) -> None:
        """Remove every other blob; nothing is in flight when a rung has been written."""
        keep = {self.blobs.key(digest) for digest in digests}
        for prefix in (self.layout.blobs, self.layout.uploads):
            for entry in list(self.store.list(prefix)):
                if entry.key not in keep:
                    self.store.delete(entry.key)


def _training(training: Any) -> dict[str, Any]:
    """The parameters of the kind ``train``, from either training section of the spec."""
    sgd = training.optimizer.sgd
    return {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": {
            "learning_rate": sgd.learning_rate,
            "momentum": sgd.momentum,
            "weight_decay": sgd.weight_decay,
        },
    }


def _words(numerics: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(numerics.items()))
