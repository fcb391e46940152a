"""The ladder: each network that a search arrives at, tested, beside what costs nothing.

What lies under ``ladder/`` in the store is the result: the weights of each rung, and views of the
journal for people, written anew as it grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from fednas.federation import Federation
from fednas.models import Architecture, Model
from fednas.search._begin import Start
from fednas.search._entries import Added, Tuned
from fednas.search._parts import Compared
from fednas.search._play import outcome_of
from fednas.search._recorder import Recorder
from fednas.search._rung import rung_file
from fednas.search._strategy import AddRung, Outcome, Tune
from fednas.space import Resource, costs, thin
from fednas.spec import FederatedSearch
from fednas.store import Blobs, Layout, Store, canonical_json

__all__ = ["Ladder"]


class Ladder:
    """Adds rungs to the ladder of one search.

    Parameters
    ----------
    search : FederatedSearch
    start : Start
    resource : Resource
        What the target counts.
    federation : Federation
    recorder : Recorder
    store : Store
    layout : Layout
    """

    def __init__(
        self,
        search: FederatedSearch,
        start: Start,
        resource: Resource,
        federation: Federation,
        recorder: Recorder,
        store: Store,
        layout: Layout,
    ) -> None:
        self._search = search
        self._start = start
        self._resource = resource
        self._federation = federation
        self._recorder = recorder
        self._view = recorder.view
        self._store = store
        self._layout = layout
        self._blobs = Blobs(store, layout.blobs)

    async def add(self, step: AddRung) -> None:
        """Put a network on the ladder: its weights, its accuracy on the test rows, its baseline."""
        model, iteration = step.outcome.model, step.iteration
        if iteration < len(self._view.ladder):
            return
        id = f"{iteration:04}"
        sums, baseline = await asyncio.gather(
            self._test(f"{id}/test", step.outcome), self._baseline(id, model.architecture)
        )
        await self._write(rung_file(iteration), model)
        await self._recorder.write(
            Added(
                iteration=iteration,
                candidate=step.candidate,
                architecture=model.architecture,
                blobs=dict(model.blobs),
                costs=costs(self._start.space, model.architecture.widths),
                sums=sums,
                validation=dict(step.outcome.sums),
                baseline=baseline,
            )
        )

    async def tune(self, step: Tune) -> None:
        """Put the trained network in the place of a rung."""
        if self._view.get(Tuned, step.id) is not None:
            return
        model = step.outcome.model
        sums = await self._test(f"{step.id.key}/test", step.outcome)
        await self._write(rung_file(step.rung, trained=True), model)
        await self._recorder.write(
            Tuned(
                id=step.id,
                rung=step.rung,
                best=step.best,
                blobs=dict(model.blobs),
                sums=sums,
                validation=dict(step.outcome.sums),
            )
        )

    async def outcomes(self, rungs: Iterable[int]) -> dict[int, Outcome]:
        """Rungs as the search left them, their weights at hand for training on."""
        found = {}
        for rung in rungs:
            entry = self._view.added[rung]
            weights = await asyncio.to_thread(self._read, rung_file(rung))
            await asyncio.to_thread(self._blobs.put, weights, durable=True)
            found[rung] = outcome_of(self._view.objective, entry.model, entry.validation)
        return found

    async def export(self) -> None:
        """The ladder and the ledger as files for people; views of the journal, written anew."""
        tables = Blobs(self._store, self._layout.updates)
        await asyncio.to_thread(self._view.ledger.tally, tables.get)
        await self.put("ladder.json", self._view.ladder_rows)
        await self.put("ledger.json", self._view.ledger.to_dict())

    async def put(self, name: str, value: Any) -> None:
        """Write JSON beside the ladder."""
        data = canonical_json(value)
        await asyncio.to_thread(self._store.put, self._layout.ladder + name, data)

    async def _baseline(self, id: str, rung: Architecture) -> Compared | None:
        """The start thinned alike to a rung's cost, which no client pays for."""
        first = self._view.added[0] if self._view.added else None
        if first is None or self._search.spec.baseline == "none":
            return None
        space = self._start.space

        def cost(widths: Any) -> int:
            return self._resource.cost(space, widths)

        widths = thin(space, space.start.widths, cost, cost(rung.widths))
        child = space.start.with_widths(widths)
        model, done = await self._federation.cut(f"{id}/baseline", first.model, child)
        validation = {name: done.sums[name] for name in self._view.objective.sums}
        outcome = outcome_of(self._view.objective, model, validation)
        return Compared(
            architecture=child,
            costs=costs(space, widths),
            sums=await self._test(f"{id}/baseline/test", outcome),
            validation=validation,
        )

    async def _test(self, id: str, outcome: Outcome) -> dict[str, float]:
        """What is counted on the test rows; on the validation rows where there are none."""
        test = self._start.shards.test
        if test is None:
            return {name: outcome.sums[name] for name in self._view.objective.sums}
        _, tested = await self._federation.evaluate(id, outcome.model, shard=test.shard)
        return {name: tested.sums[name] for name in self._view.objective.sums}

    async def _write(self, name: str, model: Model) -> None:
        weights = await asyncio.to_thread(self._blobs.get, model.weights)
        key = self._layout.ladder + name
        await asyncio.to_thread(self._store.put, key, weights, durable=True)

    def _read(self, name: str) -> bytes:
        return self._store.get(self._layout.ladder + name)
