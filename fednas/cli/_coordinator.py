"""The coordinator: the search in the main thread, clients served from another.

The server listens first. Then spec, store, pool and journal are opened, each problem being shown
at ``/v1/status``: what only the user can change ends the search as failed, what may pass is tried
again for ever, as ``degraded``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from fednas.cli._credentials import CREDENTIALS
from fednas.cli._inputs import bucket_inputs
from fednas.errors import (
    BadInput,
    Diverged,
    FednasError,
    OtherNumerics,
    SearchFailed,
    StoreError,
    StoreUnreachable,
)
from fednas.fleet import LocalFleet
from fednas.fleet._backoff import Backoff
from fednas.fleet._metrics import Metrics
from fednas.fleet._remote import RemoteFleet
from fednas.fleet._server import Server, create_app
from fednas.search import (
    Consented,
    DataRead,
    Event,
    Recorded,
    Started,
    View,
    run_search,
    status_of,
)
from fednas.spec import FederatedSearch, clients, load_spec
from fednas.store import Layout, MinioConfig, MinioStore
from fednas.tracking import Tracker, figure

__all__ = ["Coordinator"]

STORE_SECONDS = 5.0
"""Between two looks at whether the store answers."""

PATIENT_SECONDS = 30.0
"""How long clients may be missing before the status says so."""

URL_SECONDS = 900.0
"""How much longer than a round a signed URL lives."""

log = structlog.get_logger("fednas.coordinator")


class Coordinator:
    """One search.

    Parameters
    ----------
    file : Path
        The FederatedSearch.
    search_id : str
    listen : str
        ``HOST:PORT``.
    tokens : mapping or None
        Role -> sha256 of its token.
    workers : int
        Of the pool for the cloud's work.
    accept_new_numerics : bool
    """

    def __init__(
        self,
        file: Path,
        search_id: str,
        *,
        listen: str,
        tokens: Mapping[str, str] | None,
        workers: int,
        accept_new_numerics: bool = False,
    ) -> None:
        self._layout = Layout(search_id)
        self._search_id = search_id
        self._workers = workers
        self._began = time.monotonic()
        self._cache = Path(tempfile.mkdtemp(prefix="fednas-blobs-"))
        self._closed = threading.Event()
        self._consent = threading.Event()
        self._awaited: set[str] = set()
        self._view = View()
        self._end: tuple[bool, str, str] | None = None
        self._degraded: dict[str, str] | None = None
        self._store_away: float | None = None
        self._store: MinioStore | None = None
        self._tracker: Tracker | None = None
        self._search: FederatedSearch | None = None
        try:
            self._search = load_spec(file)
        except BadInput as error:
            self._fail(error)
        if accept_new_numerics or (self._search and self._search.spec.accept_new_numerics):
            self._consent.set()
        classes = {c.name: c.device_class for c in clients(self._search)} if self._search else {}
        self.fleet = RemoteFleet(classes, metrics=Metrics())
        if self._consent.is_set():
            self.fleet.numerics.accept_any()
        app = create_app(
            self.fleet,
            search_id=search_id,
            status=self.status,
            tokens=tokens,
            accept_numerics=self.accept_numerics,
            measure=self._measure,
            troubled=lambda: self._end is not None or self._degraded is not None,
        )
        self.server = Server(app, listen)
        self.server.start()
        log.info("listening", url=self.server.url)

    # -- the work --------------------------------------------------------------------------------

    def work(self) -> None:
        """Run the search to its end; raises nothing that could be waited out."""
        backoff, diverged = Backoff(first=1.0, longest=30.0), ""
        while self._end is None:
            assert self._search is not None
            try:
                self._run(self._search)
                continue
            except OtherNumerics as error:  # waits for the right machine, or for consent
                self._suffer(error)
                self._consent.wait(backoff.wait())
                continue
            except (SearchFailed, BadInput) as error:
                self._fail(error)
                continue
            except Diverged as error:
                record = str(error).partition(" says ")[0]
                if record == diverged:  # replayed, and computed otherwise all the same
                    self._fail(error)
                    continue
                diverged = record  # another coordinator was faster: step back, then go on from it
                self._suffer(error)
            except FednasError as error:
                self._suffer(error)
            except Exception as error:
                log.exception("internal error")
                self._degraded = {"reason": "InternalError", "message": repr(error)[:512]}
            time.sleep(backoff.wait())
        self.fleet.finish()

    def close(self) -> None:
        """Serve no longer, and end the workers."""
        self._closed.set()
        self.server.stop()
        self.fleet.close()
        shutil.rmtree(self._cache, ignore_errors=True)
        if self._tracker is not None:
            self._tracker.close()

    def _run(self, search: FederatedSearch) -> None:
        config = _config(search)
        if self._store is None:
            store = config.open(on_wait=self._waiting)
            store.open_bucket()
            pool = LocalFleet(
                config.open,
                self._layout,
                workers=self._workers,
                cache=self._cache,
            )
            self._track(search, config)
            self.fleet.open(
                store,
                self._layout,
                pool,
                url_seconds=search.spec.federation.round_timeout_seconds + URL_SECONDS,
            )
            self._store = store
            threading.Thread(target=self._watch_store, daemon=True).start()
        self._degraded = None
        self._view = View()
        view = run_search(
            search,
            store=self._store,
            layout=self._layout,
            fleet=self.fleet,
            inputs=bucket_inputs(
                search, config, self._store, self._layout, self._search_id, self._awaited
            ),
            timeout=search.spec.federation.round_timeout_seconds,
            view=self._view,
            on_event=self._told,
            accept_new_numerics=self._consent.is_set(),
        )
        assert view.end is not None
        self._draw(search, view)
        self._end = (False, view.end.reason, view.end.message)
        log.info("the search is over", reason=view.end.reason)

    def _track(self, search: FederatedSearch, config: MinioConfig) -> None:
        tracking = search.spec.tracking
        if tracking is not None:
            self._tracker = Tracker(
                config,
                self._layout,
                tracking.uri,
                tracking.experiment,
                search.metadata.name,
                self._search_id,
            )

    def _draw(self, search: FederatedSearch, view: View) -> None:
        """The figure beside the ladder, where matplotlib is installed."""
        if importlib.util.find_spec("matplotlib") is None or not view.ladder:
            return
        assert self._store is not None
        for format in ("png", "svg"):
            drawn = figure(view, search, format=format)
            self._store.put(f"{self._layout.ladder}figure.{format}", drawn)

    # -- what happened ---------------------------------------------------------------------------

    def accept_numerics(self) -> None:
        """A user consents to other bits than the search began with."""
        self._consent.set()
        self.fleet.numerics.accept_any()

    def _told(self, event: Event) -> None:
        match event:
            case Recorded():
                self.fleet.metrics.records.labels(event.entry.word).inc()
                log.info("journalled", key=event.entry.key)
                if isinstance(event.entry, Started | Consented):
                    self.fleet.numerics.accept(event.entry.numerics["digest"])
            case DataRead():
                log.info(event.summary)
                for warning in event.warnings:
                    log.warning(warning)

    def _fail(self, error: FednasError) -> None:
        log.error("the search has failed", reason=error.reason, error=str(error))
        self._end = (True, error.reason, str(error))

    def _suffer(self, error: FednasError) -> None:
        log.error("degraded", reason=error.reason, error=str(error))
        self._degraded = {"reason": error.reason, "message": str(error)[:512]}

    def _watch_store(self) -> None:
        """See that the store is away also while only workers, who wait for it, ask it."""
        assert self._store is not None
        while not self._closed.wait(STORE_SECONDS):
            with contextlib.suppress(StoreError):
                self._store.stat(f"{self._layout.ladder}search.json")

    def _waiting(self, error: StoreUnreachable | None) -> None:
        if error is None:
            log.info("the store answers again")
            self._store_away = self._degraded = None
        else:
            self._store_away = self._store_away or time.monotonic()
            self._suffer(error)

    # -- what is shown ---------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The body of ``/v1/status``."""
        failed, reason, message = self._end or (False, None, "")
        tracker = self._tracker
        return {
            "version": 1,
            "searchID": self._search_id,
            "over": self._end is not None,
            "failed": failed,
            "reason": reason,
            "message": message[:2048],
            "degraded": None
            if self._end is not None
            else self._degraded or self._strange() or self._lonely(),
            "tracking": {
                "pending": self._undelivered(),
                "error": tracker.error if tracker else None,
            },
            "status": self._search_status(failed),
        }

    def _undelivered(self) -> int:
        """Metrics that MLflow lacks; a search that was refused has no end in the journal."""
        if self._tracker is None:
            return 0
        if self._end is not None and self._view.end is None:
            return self._tracker.pending
        return self._tracker.undelivered

    def _search_status(self, failed: bool) -> dict[str, Any]:
        if self._search is None:
            return {"phase": "Failed"}
        status = status_of(
            self._view,
            self._search,
            available=self.fleet.available(),
            result_uri=self._store.uri(self._layout.ladder).rstrip("/") if self._store else None,
            tracking_run_id=self._tracker.run_id if self._tracker else None,
        )
        dumped = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {**dumped, "phase": "Failed"} if failed else dumped

    def _strange(self) -> dict[str, str] | None:
        """Which device classes have programs that train to other bits."""
        strangers = self.fleet.strangers()
        if not strangers:
            return None
        classes = ", ".join(sorted({one.device_class for one in strangers}))
        about = ", ".join(f"{key} {value}" for key, value in sorted(strangers[0].numerics.items()))
        message = (
            f"{len(strangers)} client programs of {classes} train to other bits than the search "
            f"began with ({about}): they get no work, unless spec.acceptNewNumerics is true"
        )
        return {"reason": OtherNumerics.reason, "message": message[:512]}

    def _lonely(self) -> dict[str, str] | None:
        """Which device classes nobody serves."""
        missing = [name for name, count in self.fleet.alive().items() if count == 0]
        if not missing or time.monotonic() - self._began < PATIENT_SECONDS:
            return None
        return {
            "reason": "WaitingForClients",
            "message": f"no client program of class {', '.join(sorted(missing))} is registered",
        }

    def _measure(self) -> None:
        away, metrics = self._store_away, self.fleet.metrics
        metrics.store_lag.set(time.monotonic() - away if away is not None else 0.0)
        metrics.tracking_pending.set(self._tracker.pending if self._tracker else 0)


def _config(search: FederatedSearch) -> MinioConfig:
    storage = search.spec.storage
    if storage is None:
        raise BadInput("spec.storage: missing; must name the endpoint and bucket of an S3 store")
    missing = [name for name in CREDENTIALS if not os.environ.get(name)]
    if missing:
        raise BadInput(f"spec.storage: no credentials; set {' and '.join(missing)}")
    return MinioConfig(
        endpoint=storage.endpoint,
        bucket=storage.bucket,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=storage.region or os.environ.get("AWS_REGION") or "us-east-1",
        patience=math.inf,
        session_token=os.environ.get("AWS_SESSION_TOKEN") or "",
    )
