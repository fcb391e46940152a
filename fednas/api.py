"""The public Python API: run a search on this machine. What came of it is a `fednas.result.Result`.

search = fednas.load_spec("search.yaml")
result = fednas.run(search, dir="runs/mine")
network = result.ladder[3].load()          # an nn.Module, in evaluation mode
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fednas.errors import BadInput, SearchFailed
from fednas.fleet import LocalFleet, available_cpus
from fednas.local import local_shards, local_table, local_weights
from fednas.result import Result
from fednas.search import DataRead, Inputs, Recorded, run_search
from fednas.spec import FederatedSearch, load_spec
from fednas.store import FolderStore, Layout, Store
from fednas.tracking import Tracker, figure
from fednas.work import TaskDone

__all__ = [
    "Event",
    "Finished",
    "Waiting",
    "default_folder",
    "mlflow_uri",
    "run",
]

_log = logging.getLogger("fednas")
_TRACKING_SECONDS = 120.0


@dataclass(frozen=True)
class Finished:
    """The search is over; ``failure`` where it ended without a result."""

    result: Result
    failure: SearchFailed | None


@dataclass(frozen=True)
class Waiting:
    """MLflow has not got everything yet; Ctrl-C skips the wait."""

    error: str | None


Event = Recorded | TaskDone | DataRead | Finished | Waiting
"""What ``on_event`` is called with."""


def default_folder(search: FederatedSearch) -> Path:
    """Where `run` puts a search that is given no folder."""
    return Path("runs") / search.metadata.name


def run(
    spec: FederatedSearch | str | os.PathLike[str],
    *,
    dir: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    tracking: str | None = "",
    on_event: Callable[[Event], None] = lambda event: None,
    accept_new_numerics: bool = False,
) -> Result:
    """Run a search on this machine; one that was interrupted goes on, to the same bits.

    A script that calls this does so under ``if __name__ == "__main__":``, since worker processes
    import the script.

    Parameters
    ----------
    spec : FederatedSearch or path
    dir : path, optional
        The run folder; ``runs/<name>`` by default.
    data : path, optional
        Used in place of ``data.source``: a local copy of what the cluster reads from S3.
    workers : int, optional
        Processes, one torch thread each; by default as many as this process may use CPUs.
    tracking : str or None
        MLflow's URI; ``""`` is the SQLite database beside the run folder (``runs/mlflow.db``), if
        MLflow is installed; None logs nothing.
    on_event : callable
        Called with each `Event`, one after the other, on one thread: the caller's, unless an event
        loop runs there, as in a notebook.
    accept_new_numerics : bool
        Go on although training gives other bits here than where the search began.

    Raises
    ------
    SearchFailed
        It ended without a result.
    BadInput
        The spec, the data or the folder are not right; nothing was lost.
    """
    search = spec if isinstance(spec, FederatedSearch) else load_spec(spec)
    folder = Path(dir) if dir is not None else default_folder(search)
    store, layout = FolderStore(folder.absolute()), Layout()
    accept_new_numerics = accept_new_numerics or search.spec.accept_new_numerics
    with _locked(folder):
        store.sweep()
        tracker = _tracker(search, store, tracking)
        local = LocalFleet(
            partial(FolderStore, store.root), layout, workers=workers or available_cpus()
        )
        observe = _observations(folder)

        def told(event: Recorded | TaskDone | DataRead) -> None:
            observe(event)
            on_event(event)

        def conduct() -> Result:
            failure = None
            try:
                run_search(
                    search,
                    store=store,
                    layout=layout,
                    fleet=local,
                    inputs=Inputs(
                        shards=lambda: local_shards(search, store, layout, data),
                        weights=lambda: local_weights(search),
                        table=local_table,
                    ),
                    timeout=None,
                    on_event=told,
                    accept_new_numerics=accept_new_numerics,
                )
            except SearchFailed as error:
                failure = error
            result = Result(store, layout)
            _draw(result)
            on_event(Finished(result, failure))
            _deliver(tracker, on_event)
            if failure is not None:
                raise failure
            return result

        try:
            return _outside_a_loop(conduct, local.close)
        finally:
            local.close()
            if tracker is not None:
                tracker.close()
            store.sweep()


def _outside_a_loop(work: Callable[[], Result], stop: Callable[[], None]) -> Result:
    """Do it here; where an event loop runs, in a thread, which Ctrl-C stops too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    outcome: list[Result | BaseException] = []

    def keep() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=keep, name="fednas-run")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        stop()
        thread.join()
        raise
    (found,) = outcome
    if isinstance(found, BaseException):
        raise found
    return found


def mlflow_uri(folder: Path) -> str:
    """The SQLite database that searches under one folder share, so that they can be compared."""
    return f"sqlite:///{folder.absolute().parent / 'mlflow.db'}"


def _tracker(search: FederatedSearch, store: FolderStore, uri: str | None) -> Tracker | None:
    if uri is None or (not uri and importlib.util.find_spec("mlflow") is None):
        return None
    return Tracker(
        store.root,
        Layout(),
        uri or mlflow_uri(store.root),
        search.spec.tracking.experiment if search.spec.tracking else "fednas",
        search.metadata.name,
        _search_id(store),
    )


def _deliver(tracker: Tracker | None, on_event: Callable[[Event], None]) -> None:
    """Wait until MLflow has the whole of a search that has ended; Ctrl-C skips."""
    if tracker is None or tracker.finish(1.0):
        return
    if not tracker.hopeless:
        on_event(Waiting(tracker.error))
        with suppress(KeyboardInterrupt):
            tracker.finish(_TRACKING_SECONDS)
    if tracker.undelivered or tracker.hopeless:
        _log.warning("MLflow has not got everything (%s); run again", tracker.error)


def _search_id(store: Store) -> str:
    """What names this search wherever its folder is moved to."""
    store.create("search-id", f"{uuid.uuid4()}\n".encode())
    return store.get("search-id").decode().strip()


def _draw(result: Result) -> None:
    """The figure beside the ladder, where matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None or not result.view.ladder:
        return
    for format in ("png", "svg"):
        result.store.put(
            f"{result.layout.ladder}figure.{format}",
            figure(result.view, result.search, format=format),
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two runs of one search at once would race for the same records."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{folder}: this search is being run by another process") from None
        yield


def _observations(folder: Path) -> Callable[[Event], None]:
    """Append what each task took to ``observations.jsonl``: all work, repeated work included."""
    path = folder / "observations.jsonl"

    def observe(event: Event) -> None:
        if not isinstance(event, TaskDone):
            return
        line = {
            "time": time.time(),
            "task": event.task.id,
            "kind": event.task.kind,
            "client": event.task.client,
            "reason": event.reason,
            "sums": event.result.sums if event.result else {},
            **(event.result.usage.model_dump() if event.result else {}),
        }
        with suppress(OSError), path.open("a") as file:  # a full disk stops what matters more
            file.write(json.dumps(line) + "\n")

    return observe
