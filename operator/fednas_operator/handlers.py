"""kopf as an informer: events put keys into the queue, and nothing else happens here.

No updates, timers, daemons or finalizers: deletion works while the operator is down, and nothing is
lost with a missed event, since every key is looked at again from time to time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx
import kopf

from . import names
from .cluster import Cluster, connect
from .queue import Key, WorkQueue
from .reconcile import Reconciler
from .settings import Settings

__all__ = ["Operator", "register"]

_WORKERS = 8
_STALLED_SECONDS = 120.0


class Operator:
    """What lives as long as the process: queue, connections, workers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = WorkQueue(time.monotonic)
        self._cluster: Cluster | None = None
        self._http: httpx.AsyncClient | None = None
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect, and start the workers."""
        self._cluster = await connect()
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(3.0, connect=2.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            trust_env=False,
        )
        reconciler = Reconciler(self._cluster, self._http, self.settings, self.queue)
        self._workers = [asyncio.create_task(reconciler.work()) for _ in range(_WORKERS)]

    async def stop(self) -> None:
        """End the workers; whatever they were at is taken up by the next operator."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()
        if self._cluster is not None:
            await self._cluster.close()

    def health(self) -> dict[str, float]:
        """The queue's length and lag; raises when it is stuck, so that the pod is restarted."""
        lag = self.queue.lag()
        if lag > _STALLED_SECONDS or any(worker.done() for worker in self._workers):
            raise RuntimeError(f"the work queue is {lag:.0f} s behind")
        return {"keys": len(self.queue), "lagSeconds": round(lag, 3)}


def register(operator: Operator, registry: kopf.OperatorRegistry) -> None:
    """Hang the operator into kopf."""

    @kopf.on.startup(registry=registry)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)
        await operator.start()

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await operator.stop()

    @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
    async def search_changed(namespace: str | None, name: str, **_: Any) -> None:
        operator.queue.add(Key(str(namespace), name))

    @kopf.on.event("apps", "v1", "deployments", labels=_OURS, registry=registry)
    async def deployment_changed(
        namespace: str | None, labels: Mapping[str, str], **_: Any
    ) -> None:
        operator.queue.add(Key(str(namespace), labels[names.SEARCH]))

    @kopf.on.event("v1", "pods", labels=_OURS, registry=registry)
    async def pod_changed(namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
        operator.queue.add(Key(str(namespace), labels[names.SEARCH]), delay=0.2)

    @kopf.on.probe(registry=registry, id="queue", errors=kopf.ErrorsMode.PERMANENT)
    async def probe(**_: Any) -> dict[str, float]:
        return operator.health()


_OURS = {names.SEARCH: kopf.PRESENT}


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    for kind in ("pods", "deployments"):
        settings.watching.label_selectors[kind] = names.MANAGED
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Backoffs()
    settings.process.ultimate_exiting_timeout = 20


class _Backoffs:
    """Pauses between tries of kopf's own requests: growing to 5 s, with jitter."""

    def __iter__(self) -> Any:
        return (random.uniform(0.5, 1.0) * pause for pause in (0.5, 1, 2, 5, 5, 5, 5, 5))  # noqa: S311
