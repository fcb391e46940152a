"""One pass over one search, and the workers that take keys from the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from . import events, names
from .act import Outcome, act
from .actions import Action, Create, WriteStatus
from .cluster import ApiError, Cluster
from .coordinator import Coordinators
from .limits import until_due
from .metrics import Metrics
from .observe import Memory, coordinator_ready, notice, observe
from .plan import plan
from .queue import Key, WorkQueue
from .settings import Settings
from .status import urgent, with_problem
from .world import Object, Problem, World

__all__ = ["Reconciler"]

_log = logging.getLogger(__name__)


_PASS_SECONDS = 60.0
"""A pass that takes longer is given up: other searches wait for its worker."""
_LEAST = 0.5
"""Until a look that a deadline asks for, in seconds."""
_LONGEST = 30.0
"""Between two looks at a search that is refused something, or whose coordinator does not answer."""
_CONTEST_SECONDS = 60.0
"""The longest pause before a status that somebody else changes is written again."""


class Reconciler:
    """Brings every search towards what its resource says.

    Parameters
    ----------
    cluster : Cluster
        The API server.
    http : httpx.AsyncClient
        For the coordinators, with short timeouts.
    settings : Settings
        The administrator's choices.
    queue : WorkQueue
        Filled by events; keys that need another look are put back with a delay.
    clock : callable
        Monotonic seconds.
    today : callable
        The time of day, as conditions have it.
    metrics : Metrics, optional
        Where passes are counted.
    """

    def __init__(
        self,
        cluster: Cluster,
        http: httpx.AsyncClient,
        settings: Settings,
        queue: WorkQueue,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
        metrics: Metrics | None = None,
    ) -> None:
        self._cluster = cluster
        self._coordinators = Coordinators(http, settings.master_key)
        self._settings, self._queue = settings, queue
        self._clock, self._today = clock, today
        self._metrics = metrics or Metrics()
        self._memories: dict[Key, Memory] = {}

    async def work(self) -> None:
        """Take keys and reconcile them, for ever. Nothing that goes wrong with one ends it."""
        while True:
            key = await self._queue.get()
            await self.work_on(key)

    async def work_on(self, key: Key) -> None:
        """One pass, and when the next is due."""
        began = self._clock()
        try:
            async with asyncio.timeout(_PASS_SECONDS):
                again = await self.reconcile(key)
        except (ApiError, TimeoutError) as error:
            result = "failed"
            self._forget(key)
            if isinstance(error, ApiError) and error.status == 422:  # of our own making
                await self._confess(key, error)
            pause = self._queue.failed(key)
            _log.info("%s/%s: %s; again in %.1f s", *key, error or "too slow", pause)
        except Exception as error:
            result = "broken"
            _log.exception("%s/%s: unexpected", *key)
            await self._confess(key, error)
            self._queue.failed(key)
        else:
            memory = self._memories.get(key)
            result = "refused" if memory is not None and memory.problem is not None else "done"
            self._queue.done(key, again)
        self._metrics.reconciles.labels(result).inc()
        self._metrics.reconcile_seconds.observe(self._clock() - began)

    def measure(self) -> None:
        """Set the gauges of the metrics."""
        self._metrics.queue_length.set(len(self._queue))
        self._metrics.queue_lag.set(self._queue.lag())
        self._metrics.count_phases(memory.phase for memory in self._memories.values())

    def notice(self, key: Key, kind: str, item: Object, *, gone: bool = False) -> None:
        """An event: bring what is known of the search up to date."""
        if key in self._memories:
            notice(self._memories[key], kind, item, gone=gone)

    def known(self) -> list[Key]:
        """Searches that are looked at."""
        return list(self._memories)

    async def reconcile(self, key: Key) -> float | None:
        """Observe, plan, act.

        Returns
        -------
        float or None
            Seconds until the search should be looked at again; None: it is gone.
        """
        memory = self._memories.setdefault(key, Memory())
        world = await observe(
            self._cluster,
            self._coordinators,
            *key,
            memory=memory,
            now=self._today(),
            clock=self._clock(),
            keep=self._settings.resync_seconds,
        )
        if world is None:
            del self._memories[key]
            return None
        self._heed_others(key, world, memory)
        planned = plan(world, self._settings)
        actions = self._timely(planned, memory)
        _tell(key, world, actions)

        def seen(kind: str, name: str, child: Object | None) -> None:
            if memory.picture is not None:
                memory.picture.see(kind, name, child)

        outcome = await act(self._cluster, self._coordinators, world, actions, seen)
        self._remember(key, memory, outcome)
        status = world.status if outcome.written is None else outcome.written["status"]
        memory.phase = str(status.get("phase", ""))
        return self._again(world, memory, outcome, held_back=len(actions) < len(planned))

    def _heed_others(self, key: Key, world: World, memory: Memory) -> None:
        """Two operators that see a search differently would write in turns, as fast as they can."""
        if memory.wrote is not None and memory.wrote != world.status:
            memory.contested += 1
            memory.wrote = None
            _log.warning("%s/%s: somebody else writes this status, another operator?", *key)
        elif self._clock() - memory.written > 2 * _CONTEST_SECONDS:
            memory.contested = 0

    def _timely(self, actions: list[Action], memory: Memory) -> list[Action]:
        """Hold back a status in which only counters changed, or that another keeps changing."""
        contest = min(_CONTEST_SECONDS, 2.0 ** min(memory.contested, 10)) - 1

        def due(action: Action) -> bool:
            if not isinstance(action, WriteStatus):
                return True
            pause = 0.0 if action.urgent else self._settings.counters_seconds
            return self._clock() - memory.written >= max(pause, contest)

        return list(filter(due, actions))

    def _remember(self, key: Key, memory: Memory, outcome: Outcome) -> None:
        problem, before = outcome.problem, memory.problem
        if problem is not None and problem != before:
            _log.warning("%s/%s: %s: %s", *key, problem.reason, problem.message)
        memory.problem = problem
        memory.refused = memory.refused + 1 if problem is not None else 0
        if outcome.written is not None:
            memory.written = self._clock()
            memory.wrote = outcome.written.get("status") or {}
        if problem is not None:
            memory.picture = None
        elif memory.picture is not None and outcome.written is not None:
            notice(memory, names.KIND, outcome.written, gone=False)

    def _again(self, world: World, memory: Memory, outcome: Outcome, held_back: bool) -> float:
        due = until_due(world)
        pause = self._pause(world, memory, outcome, held_back)
        if due is None or memory.problem is not None:
            return pause
        return min(pause, max(due, _LEAST))  # a status that is held back may keep it due

    def _pause(self, world: World, memory: Memory, outcome: Outcome, held_back: bool) -> float:
        poll = self._settings.poll_seconds
        if memory.problem is not None:
            return min(_LONGEST, poll * (1 << min(memory.refused - 1, 10)))
        if outcome.changed or (outcome.written and urgent(world.status, outcome.written["status"])):
            return 0.2  # the next step may follow at once
        settled = world.terminal and world.config_map is None and not world.deployments
        idle = world.suspended and not world.terminal
        if not held_back and (settled or idle or not world.deployments):
            return self._settings.resync_seconds
        if not (held_back or coordinator_ready(world.deployments, world.name, world.uid)):
            return max(_LONGEST, poll)  # nobody to ask: events tell, but for what takes its time
        return min(_LONGEST, poll * (1 << max(0, min(memory.silent, 10) - 3)))

    def _forget(self, key: Key) -> None:
        if key in self._memories:
            self._memories[key].picture = None

    async def _confess(self, key: Key, error: Exception) -> None:
        """Show what nobody thought of, where the user looks."""
        problem = Problem(
            "InternalError",
            f"{type(error).__name__}: {error}; a defect of the operator, whose log has more; "
            "it tries again",
        )
        memory = self._memories.setdefault(key, Memory())
        memory.picture, memory.problem, memory.wrote = None, problem, None
        try:
            async with asyncio.timeout(_PASS_SECONDS / 2):
                search = await self._cluster.get(names.KIND, *key)
                if search is None:
                    return
                now, before = self._today(), search.get("status") or {}
                status = with_problem(before, problem, now)
                if status != before:
                    await self._cluster.replace_status({**search, "status": status})
                    notes = events.transitions(before, status)
                    await events.post(self._cluster, search, notes, now)
        except Exception as again:
            _log.info("%s/%s: the status cannot say so: %s", *key, again)


def _tell(key: Key, world: World, actions: list[Action]) -> None:
    """Log transitions, and on request every action; never a token."""
    for action in actions:
        match action:
            case WriteStatus(status, urgent=True) if status["phase"] != world.status.get("phase"):
                before = world.status.get("phase", "new")
                _log.info("%s/%s: %s -> %s", *key, before, status["phase"])
            case Create(manifest):
                _log.debug("%s/%s: create %s", *key, manifest["kind"])
            case _:
                _log.debug("%s/%s: %s", *key, action)
