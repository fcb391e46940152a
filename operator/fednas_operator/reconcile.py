"""One pass over one search, and the workers that take keys from the queue."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import httpx

from .act import act
from .cluster import ApiError, Cluster
from .coordinator import Coordinators
from .observe import Memory, observe
from .plan import Action, Consent, Create, WriteStatus, plan
from .queue import Key, WorkQueue
from .settings import Settings
from .world import World

__all__ = ["Reconciler"]

_log = logging.getLogger(__name__)


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
    """

    def __init__(
        self, cluster: Cluster, http: httpx.AsyncClient, settings: Settings, queue: WorkQueue
    ) -> None:
        self._cluster = cluster
        self._coordinators = Coordinators(http, settings.master_key)
        self._settings, self._queue = settings, queue
        self._memories: dict[Key, Memory] = {}

    async def work(self) -> None:
        """Take keys and reconcile them, for ever. Nothing that goes wrong with one ends it."""
        while True:
            key = await self._queue.get()
            try:
                again = await self.reconcile(key)
            except ApiError as error:
                pause = self._queue.failed(key)
                _log.info("%s/%s: %s; again in %.1f s", *key, error, pause)
            except Exception:
                pause = self._queue.failed(key)
                _log.exception("%s/%s: unexpected; again in %.1f s", *key, pause)
            else:
                self._queue.done(key, again)

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
            now=datetime.now(UTC),
        )
        if world is None:
            del self._memories[key]
            return None
        actions = self._timely(plan(world, self._settings), memory)
        _tell(key, world, actions)
        before = memory.problem
        memory.problem = await act(self._cluster, self._coordinators, world, actions)
        if memory.problem is not None and memory.problem != before:
            _log.warning("%s/%s: %s: %s", *key, memory.problem.reason, memory.problem.message)
        if any(isinstance(action, WriteStatus) for action in actions):
            memory.written = time.monotonic()
        return self._again(world, actions, memory)

    def _timely(self, actions: list[Action], memory: Memory) -> list[Action]:
        """Leave out a status in which only counters changed, if one was just written."""
        early = time.monotonic() - memory.written < self._settings.counters_seconds
        return [
            action
            for action in actions
            if not (early and isinstance(action, WriteStatus) and not action.urgent)
        ]

    def _again(self, world: World, actions: list[Action], memory: Memory) -> float:
        if memory.problem is not None:
            return self._settings.poll_seconds
        if any(map(_leads_on, actions)):
            return 0.2  # the next step may follow at once
        settled = world.terminal and world.config_map is None and not world.deployments
        idle = world.suspended and not world.terminal
        if settled or idle or not world.deployments:
            return self._settings.resync_seconds
        return self._settings.poll_seconds


def _leads_on(action: Action) -> bool:
    """Whether the next pass will see more; what a coordinator was told shows when it is polled."""
    return action.urgent if isinstance(action, WriteStatus) else not isinstance(action, Consent)


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
