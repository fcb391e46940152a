"""kopf as an informer: events put keys into the queue, and nothing else happens here.

No updates, timers, daemons or finalizers: deletion works while the operator is down, and nothing is
lost with a missed event, since all searches are listed from time to time, and each is read afresh.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain, repeat
from typing import Any

import httpx
import kopf

from . import names
from .cluster import ApiError, Cluster, connect
from .metrics import Metrics, serve
from .queue import Key, WorkQueue
from .reconcile import Reconciler
from .settings import Settings

__all__ = ["Operator", "register"]

_log = logging.getLogger(__name__)

_WORKERS = 8
_STALLED_SECONDS = 120.0


class Operator:
    """What lives as long as the process: queue, connections, workers.

    Parameters
    ----------
    settings : Settings
    namespaces : sequence of str
        Those that are watched; none: all.
    metrics_port : int or None
        Where ``/metrics`` is served; None: nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        namespaces: Sequence[str] = (),
        metrics_port: int | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._metrics_port = metrics_port
        self._open = AsyncExitStack()
        self.namespaces: Sequence[str | None] = namespaces or (None,)
        self.queue = WorkQueue(time.monotonic, waited=self.metrics.queue_seconds.observe)
        self._cluster: Cluster | None = None
        self._http: httpx.AsyncClient | None = None
        self._reconciler: Reconciler | None = None
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect, and start the workers."""
        self._cluster = await connect(self.metrics.count_request)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(3.0, connect=2.0),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            trust_env=False,
        )
        reconciler = Reconciler(
            self._cluster, self._http, self.settings, self.queue, metrics=self.metrics
        )
        if self._metrics_port is not None:
            served = serve(self.metrics, self._metrics_port, reconciler.measure)
            await self._open.enter_async_context(served)
        self._reconciler = reconciler
        self._workers = [
            *(asyncio.create_task(reconciler.work()) for _ in range(_WORKERS)),
            asyncio.create_task(self._resync(self._cluster)),
        ]

    async def stop(self) -> None:
        """End the workers; whatever they were at is taken up by the next operator."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._open.aclose()
        if self._http is not None:
            await self._http.aclose()
        if self._cluster is not None:
            await self._cluster.close()

    def event(self, key: Key, kind: str, event: Mapping[str, Any], delay: float = 0.0) -> None:
        """Something happened to a search or to a child of it."""
        if self._reconciler is not None:
            gone = event["type"] == "DELETED"
            self._reconciler.notice(key, kind, event["object"], gone=gone)
        self.queue.add(key, delay)

    async def _resync(self, cluster: Cluster) -> None:
        """Find searches of which no event told."""
        while True:
            await asyncio.sleep(self.settings.resync_seconds)
            for namespace in self.namespaces:
                try:
                    found = await cluster.find(names.KIND, namespace)
                except ApiError as error:
                    _log.info("%s: %s", namespace or "all namespaces", error)
                    continue
                for search in found:
                    meta = search["metadata"]
                    self.queue.add(Key(meta["namespace"], meta["name"]))

    def health(self) -> dict[str, float]:
        """The queue's length and lag; raises when it is stuck, so that the pod is restarted.

        An API server that is away lets no pass succeed, but each ends, and a restart mends nothing.
        """
        lag = self.queue.lag()
        if self.queue.stalled() > _STALLED_SECONDS or any(map(asyncio.Task.done, self._workers)):
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
    async def search_changed(namespace: str | None, name: str, event: Any, **_: Any) -> None:
        operator.event(Key(str(namespace), name), names.KIND, event)

    @kopf.on.event("apps", "v1", "deployments", labels=_OURS, registry=registry)
    async def deployment_changed(
        namespace: str | None, labels: Mapping[str, str], event: Any, **_: Any
    ) -> None:
        operator.event(Key(str(namespace), labels[names.SEARCH]), "Deployment", event, 0.2)

    @kopf.on.event("v1", "pods", labels=_OURS, registry=registry)
    async def pod_changed(
        namespace: str | None, labels: Mapping[str, str], event: Any, **_: Any
    ) -> None:
        operator.event(Key(str(namespace), labels[names.SEARCH]), "Pod", event, 0.2)

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
    """Pauses between tries of kopf's own requests: growing, with jitter, and without end.

    A watch that gives up ends the operator, and with it the service to every other namespace: when
    the API server is away for long, or one of the namespaces is deleted, its permissions with it.
    """

    def __iter__(self) -> Iterator[float]:
        growing, retries = (0.5, 1.0, 2.0), 60
        for pause in chain(growing, repeat(5.0, retries), repeat(30.0)):
            yield random.uniform(0.5, 1.0) * pause  # noqa: S311
