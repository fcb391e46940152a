"""The one resumable loop that drives a strategy, on a laptop and in a cluster alike.

Each step of the strategy is carried out on the fleet and written to the journal; what the journal
holds already is read back instead. Restarting is therefore nothing but running again: the strategy
is replayed over the journal's values and goes on after the last entry.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fednas.errors import SearchFailed
from fednas.federation import FINAL, Failure, Federation, Gathering, Member, Round, RoundId
from fednas.objective import OBJECTIVES
from fednas.search._begin import DataRead, Inputs, begin, check_identity
from fednas.search._entries import Ended, Generated
from fednas.search._initial import from_scratch, given
from fednas.search._ladder import Ladder
from fednas.search._parts import Change, Offered
from fednas.search._play import Player
from fednas.search._private import BudgetSpent, check_privacy, private_of
from fednas.search._recorder import Recorder
from fednas.search._strategies import strategy_of
from fednas.search._strategy import (
    AddRung,
    Compare,
    Compute,
    Cut,
    Decide,
    Distil,
    Ending,
    Evaluate,
    Outcome,
    Outcomes,
    Problem,
    Steps,
    Train,
    Tune,
)
from fednas.search._tuning import tuning_of
from fednas.search._view import Recorded, View
from fednas.space import costs, resource
from fednas.spec import FederatedSearch, clients
from fednas.store import Blobs, Layout, Store
from fednas.work import Fleet, TaskDone
from fednas.work import Train as TrainParams

__all__ = ["Event", "run_search"]

Event = Recorded | TaskDone | DataRead
"""What a search tells of: a decision, the end of a task, what it trains on."""

T = TypeVar("T")

_SPENT = "PrivacyBudgetSpent"


def run_search(
    search: FederatedSearch,
    *,
    store: Store,
    layout: Layout,
    fleet: Fleet,
    inputs: Inputs,
    timeout: float | None,
    view: View | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    accept_new_numerics: bool = False,
) -> View:
    """Run a search to its end, or go on with one that was interrupted.

    Parameters
    ----------
    timeout : float or None
        Seconds that a client may take for its task; None waits for every client.
    view : View, optional
        An empty one to fill, for whoever looks at it from another thread.
    on_event : callable
        Called with each entry of the journal, old ones first, and with each task that ended; on
        this thread.

    Raises
    ------
    SearchFailed
        The search ended without a result; the journal says so too.
    BadInput
        The journal belongs to another spec or other data.
    OtherNumerics
        It was begun where training gives other bits.
    """
    view = View() if view is None else view
    recorder = Recorder(store, layout.journal, view, on_event)
    recorder.replay()
    check_identity(search, view)
    if view.end is None:
        check_privacy(search)
        loop = _Loop(search, store, layout, recorder)
        asyncio.run(_listened(loop, fleet, inputs, timeout, on_event, accept_new_numerics))
    assert view.end is not None
    if view.end.failed:
        raise SearchFailed(view.end.reason, view.end.message)
    return view


class _Loop:
    """Carries out what a strategy yields."""

    def __init__(
        self, search: FederatedSearch, store: Store, layout: Layout, recorder: Recorder
    ) -> None:
        self.search = search
        self.store = store
        self.layout = layout
        self.recorder = recorder
        self.view = recorder.view
        self.strategy = strategy_of(search)
        self.blobs = Blobs(store, layout.blobs)
        self.tables = Blobs(store, layout.updates)
        self._spent = ""

    async def conduct(
        self,
        fleet: Fleet,
        inputs: Inputs,
        timeout: float | None,
        told: Callable[[Event], None],
        accept_new_numerics: bool,
    ) -> None:
        """From the start to the entry of the end."""
        spec = self.search.spec
        gathering = Gathering(
            fleet,
            {client.name: client.device_class for client in clients(self.search)},
            timeout=timeout,
            on_done=told,
        )
        self.start = await begin(
            self.search,
            do=gathering.one,
            told=told,
            recorder=self.recorder,
            blobs=self.blobs,
            tables=Blobs(self.store, self.layout.tables),
            inputs=inputs,
            strategy=self.strategy,
            accept_new_numerics=accept_new_numerics,
        )
        shards = self.start.shards
        self.federation = Federation(
            gathering,
            seed=spec.seed,
            members={
                name: Member(shard.shard, shard.samples) for name, shard in shards.clients.items()
            },
            validation=shards.validation.shard,
            calibration=shards.calibration.shard,
            space=self.start.space_digest,
            refit=spec.refit,
            quorum=spec.federation.quorum,
        )
        self.private = private_of(self.search, self.start, self.recorder, self.blobs)
        self.player = Player(self.federation, self.recorder, self.blobs, self.tables, self.private)
        self.ladder = Ladder(
            self.search,
            self.start,
            resource(spec.target.bound.resource),
            self.federation,
            self.recorder,
            self.store,
            self.layout,
        )
        await self.ladder.put("search.json", self.search.to_dict())
        try:
            ending = await self._search()
            if not ending.failed:
                await self._train_finally()
            if self._spent:
                ending = Ending(_SPENT, self._spent)
        except BudgetSpent as spent:
            ending = Ending(_SPENT, str(spent), failed=not self.view.ladder)
        except SearchFailed as failure:
            ending = Ending(failure.reason, str(failure), failed=True)
        await self.ladder.export()
        await self._keep(set())
        await self.recorder.write(
            Ended(
                reason=ending.reason,
                message=ending.message,
                failed=ending.failed,
                rungs=len(self.view.ladder),
            )
        )

    async def _search(self) -> Ending:
        """From the starting network to an ending."""
        spec, start = self.search.spec, self.start
        training = spec.model.initial.training
        if start.weights is not None:
            initial = given(start.network, start.weights)
        else:
            assert training is not None, "one of both is given"
            initial = from_scratch(
                start.network, training, spec.data, sorted(start.shards.clients), spec.seed
            )
        outcome = await self._drive(initial)
        await self._add(AddRung(0, "", outcome))
        self._check_trained(outcome)
        target = spec.target.bound
        problem = Problem(
            space=start.space,
            resource=resource(target.resource),
            budget=target.share_of(self.view.full),
            groups=start.groups,
            seed=spec.seed,
            training=lambda network: TrainParams.by(spec.training, spec.data, network),
        )
        return await self._drive(self.strategy.search(problem, outcome))

    async def _train_finally(self) -> None:
        """Train the rungs that are used, as far as the spec asks for it."""
        tuning = tuning_of(self.search, self.view)
        if tuning is not None:
            outcomes = await self.ladder.outcomes({0, *tuning.rungs})
            await self._drive(tuning.steps(self.search, self.start, outcomes))

    def _check_trained(self, outcome: Outcome) -> None:
        """A start that learnt nothing is refused: its candidates could not be ranked."""
        assert self.view.start is not None
        floor = self.view.start.floor
        bar = OBJECTIVES[self.search.spec.objective].bar(floor)
        if outcome.score < bar:
            raise SearchFailed(
                "StartingNetworkUntrained",
                f"the starting network scores {outcome.score:.3f}; one that learnt nothing scores "
                f"{floor:.3f}, and a start must reach {bar:.3f}: give it more rounds "
                "(model.initial.training.rounds) or trained weights (model.initial.weights)",
            )

    # --- the steps -------------------------------------------------------------------------------

    async def _drive(self, steps: Steps[T]) -> T:
        """Carry out what a generator yields until it returns."""
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                returned: T = end.value
                return returned
            match step:
                case Cut():
                    answer = await self._cut(step)
                case Train():
                    answer = await self._train(step)
                case Distil():
                    answer = await _together(
                        {
                            name: self.player.distil(
                                step.id.of(name), model, step.teacher, step.how
                            )
                            for name, model in step.models.items()
                        }
                    )
                case Compute():
                    answer = await self.player.compute(step)
                case Compare():
                    await self.player.compare(step)
                    answer = None
                case Evaluate():
                    answer = await self.player.evaluate(step.id, step.model)
                case Decide():
                    await self.recorder.write(step.entry)
                    answer = None
                case AddRung():
                    await self._add(step)
                    answer = None
                case Tune():
                    await self.ladder.tune(step)
                    answer = None
                case _:
                    raise AssertionError(step)

    async def _cut(self, step: Cut) -> Outcomes:
        widths = dict(zip(self._groups(), step.parent.architecture.widths, strict=True))
        await self.recorder.write(
            Generated(
                iteration=step.iteration,
                costs=costs(self.start.space, step.parent.architecture.widths),
                resource=self.search.spec.target.bound.resource,
                target=step.target,
                planned=dict(step.planned),
                candidates=tuple(
                    Offered(
                        name=candidate.name,
                        changes={
                            group: Change(before=widths[group], after=after)
                            for group, after in candidate.changes.items()
                        },
                        costs=dict(candidate.costs),
                        reached_target=candidate.reached_target,
                        architecture=candidate.architecture,
                    )
                    for candidate in step.candidates
                ),
            )
        )

        return await _together(
            {
                candidate.name: self.player.cut(
                    RoundId(step.iteration, step.phase, candidate.name, 0),
                    step.source,
                    candidate.architecture,
                    divergence=step.divergence,
                )
                for candidate in step.candidates
            }
        )

    def _groups(self) -> list[str]:
        """Names by the index of their width."""
        space = self.start.space
        found = {group.choice: group.name for group in space.groups}
        found |= {group.choice: group.name for group in space.left_out}
        return [found[index] for index in sorted(found)]

    async def _train(self, step: Train) -> Outcomes:
        macs, rounds = self.start.space.macs, {}
        for name, entrant in step.entrants.items():
            network = entrant.model.architecture
            params = step.params(network)
            within = [macs(one.widths) for one in step.kind.within(params)]
            rounds[name] = Round(
                id=step.id.of(name),
                model=entrant.model,
                macs=macs(network.widths) + sum(within) // max(1, len(within)),
                kind=step.kind,
                params=params,
                cohort=entrant.cohort,
            )
        if self.private is not None:
            rounds = {name: self.private.clipped(round) for name, round in rounds.items()}
            try:
                self.private.check(rounds.values())
            except BudgetSpent as spent:
                if step.id.phase != FINAL:
                    raise
                self._spent = str(spent)  # what was trained so far counts
                failed = Failure(_SPENT, self._spent)
                return {
                    name: Outcome(round.model, {}, 0.0, math.inf, failed=failed)
                    for name, round in rounds.items()
                }
        return await _together({name: self.player.play(round) for name, round in rounds.items()})

    async def _add(self, step: AddRung) -> None:
        """Put a network on the ladder, and remove what led to it."""
        await self.ladder.add(step)
        iteration, start = step.iteration, self.view.added[0]
        if iteration + 1 == len(self.view.ladder):
            await self.ladder.export()
            if iteration and not self.view.has_begun(iteration + 1):
                kept = {*step.outcome.model.blobs.values(), *start.blobs.values()}
                await self._keep({*kept, self.start.space_digest})

    async def _keep(self, digests: set[str]) -> None:
        """Remove every other blob; nothing is in flight when a rung has been written."""
        keep = {self.blobs.key(digest) for digest in digests}

        def sweep() -> None:
            for prefix in (self.layout.blobs, self.layout.uploads):
                found = [entry.key for entry in self.store.list(prefix)]
                self.store.delete(*(key for key in found if key not in keep))

        await asyncio.to_thread(sweep)


async def _listened(
    loop: _Loop,
    fleet: Fleet,
    inputs: Inputs,
    timeout: float | None,
    on_event: Callable[[Event], None],
    accept_new_numerics: bool,
) -> None:
    """Have the listener's first error end the search; in a callback asyncio would but log it."""
    search = asyncio.current_task()
    assert search is not None
    errors: list[BaseException] = []

    def told(event: Event) -> None:
        if errors:
            return
        try:
            on_event(event)
        except BaseException as error:
            errors.append(error)
            search.cancel()

    try:
        await loop.conduct(fleet, inputs, timeout, told, accept_new_numerics)
    except BaseException:
        if errors:
            raise errors[0] from None
        raise


async def _together(work: Mapping[str, Coroutine[Any, Any, Outcome]]) -> Outcomes:
    """All at once; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(one) for name, one in work.items()}
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}
