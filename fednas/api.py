"""The public Python API: run a search on this machine, and open one that ran anywhere.

search = fednas.load_spec("search.yaml")
result = fednas.run(search, dir="runs/mine")
network = result.ladder[3].load()          # an nn.Module, in evaluation mode
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fednas.data import Shards, load_dataset, make_shards, shards_key, source_digest
from fednas.errors import BadInput, Corrupt, DataError, NotFound, SearchFailed
from fednas.fleet import LocalFleet, TaskDone, WatchedFleet
from fednas.models import decode
from fednas.search import Inputs, Ledger, Rung, View, run_search
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Blobs, FolderStore, Journal, Layout, Record, Store, canonical_json
from fednas.tracking import Tracker, figure

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Event",
    "LadderRung",
    "Result",
    "default_folder",
    "local_shards",
    "local_weights",
    "mlflow_uri",
    "open_target",
    "run",
]

_log = logging.getLogger("fednas")
_TRACKING_SECONDS = 120.0

Event = Record | TaskDone
"""What ``on_event`` is called with: a decision, or the end of a task."""


class LadderRung:
    """A rung of the ladder that can be loaded; its numbers are attributes (see `Rung`)."""

    def __init__(self, rung: Rung, store: Store, layout: Layout) -> None:
        self._rung = rung
        self._store = store
        self._key = f"{layout.ladder}rung-{rung.rung:02}.safetensors"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rung, name)

    def __repr__(self) -> str:
        return repr(self._rung)

    def load(self) -> nn.Module:
        """The trained network in evaluation mode; needs torch.

        Input is float32 [n, C, H, W], ``(pixel / 255 - 0.5) / 0.25``; output logits [n, classes].
        """
        from fednas.models import build
        from fednas.store import digest_of

        blob = self._store.get(self._key)
        if digest_of(blob) != self._rung.sha256:
            raise DataError(
                f"{self._store.uri(self._key)}: is not the network that the ladder names"
            )
        return build(self._rung.architecture, decode(blob)).eval()


class Result:
    """What a search has come to so far.

    Attributes
    ----------
    search : FederatedSearch
    view : View
        Everything that the journal tells.
    ladder : list of LadderRung
        Rung 0 is the starting network; each is smaller than the one before.
    decisions : list of dict
        Every candidate's fate with its evidence; ``pandas.DataFrame(result.decisions)`` works.
    ledger : Ledger
        What each client paid, and what the naive design would have cost.
    """

    def __init__(self, store: Store, layout: Layout) -> None:
        self.store = store
        self.layout = layout
        journal = Journal(store, layout.journal)
        journal.refresh()
        self.view = View(journal.records.values())
        key = f"{layout.ladder}search.json"
        try:
            self.search = load_spec(json.loads(store.get(key)))
        except NotFound:
            raise DataError(f"{store.uri(layout.ladder)}: no search was run here") from None
        except (TypeError, ValueError) as error:
            raise Corrupt(f"{store.uri(key)}: is no FederatedSearch: {error}") from None

    @property
    def ladder(self) -> list[LadderRung]:
        """The start and the winner of each iteration, in order."""
        return [LadderRung(rung, self.store, self.layout) for rung in self.view.ladder]

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """One row for each candidate; see `View.decisions`."""
        return self.view.decisions

    @property
    def ledger(self) -> Ledger:
        """What the clients paid; see `Ledger`."""
        return self.view.ledger


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
        Processes, one torch thread each; one per core by default.
    tracking : str or None
        MLflow's URI; ``""`` is the SQLite database beside the run folder (``runs/mlflow.db``), if
        MLflow is installed; None logs nothing.
    on_event : callable
        Called with each `Record` and each `TaskDone`, from several threads.
    accept_new_numerics : bool
        Go on although torch or the CPU differ from those the search began with.

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
    with _locked(folder):
        store.sweep()
        observe = _observations(folder)

        def done(event: TaskDone) -> None:
            observe(event)
            on_event(event)

        tracker = _tracker(search, store, tracking)
        workers = workers or os.cpu_count() or 1
        local = LocalFleet(partial(FolderStore, store.root), layout, workers=workers)
        try:
            try:
                run_search(
                    search,
                    store=store,
                    layout=layout,
                    fleet=WatchedFleet(local, done),
                    inputs=Inputs(
                        shards=lambda: local_shards(search, store, layout, data),
                        weights=lambda: local_weights(search),
                    ),
                    timeout=None,
                    on_record=on_event,
                    accept_new_numerics=accept_new_numerics,
                )
            except SearchFailed:
                _deliver(tracker)
                raise
            result = Result(store, layout)
            _draw(result)
            _deliver(tracker)
        finally:
            local.close()
            if tracker is not None:
                tracker.close()
    return result


def mlflow_uri(folder: Path) -> str:
    """The SQLite database that searches under one folder share, so that they can be compared."""
    return f"sqlite:///{folder.absolute().parent / 'mlflow.db'}"


def open_target(target: str | os.PathLike[str]) -> Result:
    """Open a search that ran, or runs, in a folder or a bucket.

    Parameters
    ----------
    target : path or str
        A run folder, or ``s3://bucket/ladder/<searchID>`` (credentials and endpoint from
        ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_ENDPOINT_URL_S3``).
    """
    text = os.fspath(target)
    if text.startswith("s3://"):
        from fednas.store import open_bucket

        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        search_id = prefix.strip("/").rpartition("/")[2]
        if not search_id:
            raise BadInput(f"target: got {text}; must be s3://bucket/ladder/<searchID>")
        return Result(open_bucket(bucket), Layout(search_id))
    folder = Path(text)
    if not (folder / "journal").is_dir():
        raise BadInput(f"target: {text} is no run folder; fednas run makes one (runs/<name>)")
    return Result(FolderStore(folder.absolute()), Layout())


def local_shards(
    search: FederatedSearch,
    store: Store,
    layout: Layout,
    data: str | os.PathLike[str] | None = None,
) -> Shards:
    """The shards of a search over a local data set, made once."""
    source = os.fspath(data) if data is not None else search.spec.data.source
    if source.startswith("s3://"):
        raise BadInput(
            f"spec.data.source: got {source}, which lies in a cluster's store; "
            "give a local copy with --data FOLDER"
        )
    key = layout.data + shards_key(search, source_digest(source))
    blobs = Blobs(store, layout.data)
    try:
        shards = Shards.model_validate_json(store.get(key))
    except (NotFound, ValidationError):
        pass
    else:
        if _all_there(shards, store, layout):
            return shards
    dataset = load_dataset(source, search.spec.data.columns)
    shards = make_shards(search, dataset, blobs.put)
    store.put(key, canonical_json(shards.model_dump(mode="json")), durable=True)
    return shards


def _all_there(shards: Shards, store: Store, layout: Layout) -> bool:
    there = {entry.key for entry in store.list(layout.data)}
    blobs = Blobs(store, layout.data)
    needed = [*shards.clients.values(), shards.validation, shards.calibration]
    needed += [shards.test] if shards.test is not None else []
    return all(blobs.key(part.shard) in there for part in needed)


def local_weights(search: FederatedSearch) -> bytes:
    """The blob of ``model.initial.weights``."""
    path = search.spec.model.initial.weights
    assert path is not None
    if path.startswith("s3://"):
        raise BadInput(
            f"spec.model.initial.weights: got {path}, which lies in a cluster's store; "
            "give a local copy with --set model.initial.weights=FILE"
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"spec.model.initial.weights: {path}: {error.strerror}; must be a rung-NN.safetensors "
            "of an earlier search"
        ) from None


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


def _deliver(tracker: Tracker | None) -> None:
    """Wait until MLflow has the whole of a search that has ended."""
    if tracker is not None and not tracker.finish(_TRACKING_SECONDS):
        _log.warning("MLflow has not got everything yet (%s); run again", tracker.error)


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


def _observations(folder: Path) -> Callable[[TaskDone], None]:
    """Append what each task took to ``observations.jsonl``: all work, repeated work included."""
    path = folder / "observations.jsonl"

    def observe(event: TaskDone) -> None:
        line = {
            "time": time.time(),
            "task": event.task.id,
            "kind": event.task.kind,
            "client": event.task.client,
            "reason": event.reason,
            "scalars": event.result.scalars if event.result else {},
            **(event.result.cost.model_dump() if event.result else {}),
        }
        with suppress(OSError), path.open("a") as file:  # a full disk stops what matters more
            file.write(json.dumps(line) + "\n")

    return observe
