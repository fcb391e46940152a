"""What the operator counts, in the text form of Prometheus, and the server that shows it.

No series is named for a search or a namespace, so their number does not grow with the searches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import get_args

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from fednas.spec import Phase

__all__ = ["Metrics", "serve"]

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


class Metrics:
    """Counters of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.reconciles = Counter(
            "fednas_operator_reconciles",
            "Passes over a search: done; refused something by the API server; failed for want of "
            "its answer; or broken by a defect.",
            ["result"],
            registry=registry,
        )
        self.reconcile_seconds = Histogram(
            "fednas_operator_reconcile_seconds",
            "How long a pass takes.",
            registry=registry,
            buckets=_SECONDS,
        )
        self.queue_seconds = Histogram(
            "fednas_operator_queue_seconds",
            "How long a search that is due waits for its pass.",
            registry=registry,
            buckets=_SECONDS,
        )
        self.queue_length = Gauge(
            "fednas_operator_queue_length", "Searches that wait or are at work.", registry=registry
        )
        self.queue_lag = Gauge(
            "fednas_operator_queue_lag_seconds",
            "By how much the most belated search is late.",
            registry=registry,
        )
        self.searches = Gauge(
            "fednas_operator_searches", "FederatedSearches.", ["phase"], registry=registry
        )
        self.requests = Counter(
            "fednas_operator_api_requests",
            "Requests to the API server, but for watches; code 0: no answer.",
            ["verb", "kind", "code"],
            registry=registry,
        )
        for result in ("done", "refused", "failed", "broken"):
            self.reconciles.labels(result)

    def count_phases(self, phases: Iterable[str]) -> None:
        """Set how many searches are in each phase."""
        found = list(phases)
        for phase in get_args(Phase):
            self.searches.labels(phase).set(found.count(phase))

    def count_request(self, verb: str, kind: str, code: int) -> None:
        """Count an answer of the API server."""
        self.requests.labels(verb, kind, str(code)).inc()

    def text(self) -> bytes:
        """The body of ``/metrics``."""
        return generate_latest(self.registry)


@asynccontextmanager
async def serve(
    metrics: Metrics, port: int, measure: Callable[[], None], host: str | None = None
) -> AsyncIterator[int]:
    """Serve ``/metrics`` while the context is open.

    Parameters
    ----------
    metrics : Metrics
    port : int
        0: a free one.
    measure : callable
        Called before each answer, to set gauges.
    host : str, optional
        None: all addresses, of IPv4 and IPv6.

    Yields
    ------
    int
        The port.
    """

    async def answer(request: web.Request) -> web.Response:
        measure()
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
