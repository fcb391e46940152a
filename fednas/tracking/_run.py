"""One MLflow run per search, found again by a tag, and written so that repeating is harmless.

Nothing here keeps state that matters: what the run holds already is read back from MLflow when
connecting, so a lost answer, a killed exporter or a wiped server end in the same run.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from fednas.store import digest_of
from fednas.tracking._points import Point
from fednas.tracking._store import SQLITE, Hopeless

__all__ = ["NAME", "SEARCH_ID", "SearchRun", "title"]

OWN_STRATEGY = "strategy.module.path"
"""The param that names a strategy of one's own."""

SEARCH_ID = "fednas.searchID"
"""The tag by which a search's run is found."""

NAME = "fednas.name"
"""The tag with the name of the search, which several runs may share."""

_TABLES = "mlflow.loggedArtifacts"  # the tag that mlflow.log_table writes and the UI reads
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI guesses, and wrongly
_HOPELESS = {
    "unsupported URI": "MLflow knows no such kind of server",
    "out-of-date database schema": "its database is another version's: run `mlflow db upgrade`",
    "in maintenance mode": "MLflow keeps no runs in folders any more: name a sqlite:/// file",
}
_UNREADABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN)
_METRICS_PER_BATCH = 500
_PARAMS_PER_BATCH = 100


class SearchRun:
    """The run of one search in an MLflow experiment.

    Parameters
    ----------
    uri : str
        A tracking server, or ``sqlite:///path``.
    experiment, name : str
        Of the run; both are created if absent.
    search_id : str
        Value of the tag `SEARCH_ID`.
    """

    def __init__(self, uri: str, experiment: str, name: str, search_id: str) -> None:
        self.run_id: str | None = None
        self._uri = uri
        self._experiment = experiment
        self._name = name
        self._search_id = search_id
        self._client: MlflowClient | None = None
        self._seen: set[tuple[str, int]] = set()
        self._uploaded: dict[str, str] = {}

    @property
    def client(self) -> MlflowClient:
        if self._client is None:
            _check_address(self._uri)
            _check_database(self._uri)
            try:
                self._client = MlflowClient(self._uri)
            except Exception as error:  # MLflow's own, or of a plugin
                for said, what in _HOPELESS.items():
                    if said in str(error):
                        raise Hopeless(f"{self._uri}: {what}") from None
                raise
        return self._client

    def has(self, point: Point) -> bool:
        """Whether this point is known to be in MLflow."""
        return (point.key, point.step) in self._seen

    def connect(self, started: float, tags: Mapping[str, str]) -> None:
        """Find the run or create it, and read which metrics it holds.

        Parameters
        ----------
        started : float
            When the search started, seconds since the epoch.
        tags : mapping of str to str
            Set on the run.
        """
        experiment = self._experiment_id()
        runs = self._find(experiment)
        if not runs:
            self.client.create_run(
                experiment, _millis(started), {SEARCH_ID: self._search_id}, self._name
            )
            runs = self._find(experiment)
        run, *surplus = runs
        for other in surplus:  # a request that was answered too late created a second run
            self.client.delete_run(other.info.run_id)
        run_id = run.info.run_id
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        if run.info.status == "KILLED":
            self.client.update_run(run_id, status="RUNNING")
        self._seen = {
            (key, metric.step)
            for key in run.data.metrics
            for metric in self.client.get_metric_history(run_id, key)
        }
        self._uploaded = {}
        self.run_id = run_id

    def disconnect(self) -> None:
        """Forget what is known of the run; the next `connect` reads it again."""
        self.run_id = None

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log the spec, and name the run by what tells it from others of its name."""
        self._entitle(params)
        for batch in _batches(list(params.items()), _PARAMS_PER_BATCH):
            self.client.log_batch(self._id, params=[Param(key, value) for key, value in batch])

    def log(self, points: Iterable[Point]) -> None:
        """Log the points that MLflow does not hold yet."""
        new = [point for point in points if not self.has(point)]
        for batch in _batches(new, _METRICS_PER_BATCH):
            metrics = [
                Metric(point.key, point.value, _millis(point.time), point.step) for point in batch
            ]
            self.client.log_batch(self._id, metrics=metrics)
            self._seen |= {(point.key, point.step) for point in batch}

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.client.log_batch(self._id, tags=[RunTag(key, value) for key, value in tags.items()])

    def put(self, artifacts: Mapping[str, bytes], tables: Iterable[str]) -> None:
        """Write the artifacts that changed; ``tables`` names those that MLflow shows as tables."""
        for path, data in artifacts.items():
            if self._uploaded.get(path) != digest_of(data):
                self._put(path, data)
                self._uploaded[path] = digest_of(data)
        shown = [{"path": path, "type": "table"} for path in tables]
        self.set_tags({_TABLES: json.dumps(shown)})

    def end(self, status: str, time: float | None = None) -> None:
        """Set the run's status: ``FINISHED``, ``FAILED`` or, to be continued, ``KILLED``."""
        self.client.set_terminated(self._id, status, _millis(time) if time else None)

    @property
    def _id(self) -> str:
        assert self.run_id is not None
        return self.run_id

    def _put(self, path: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / path
            local.write_bytes(data)
            self.client.log_artifact(self._id, str(local))

    def _entitle(self, params: Mapping[str, str]) -> None:
        run = self.client.get_run(self._id)
        others = self.client.search_runs(
            [run.info.experiment_id], f"tags.`{NAME}` = '{self._name}'", ViewType.ACTIVE_ONLY
        )
        before = sorted(
            (one for one in others if one.info.start_time < run.info.start_time),
            key=lambda one: one.info.start_time,
        )
        name = title(self._name, params, [one.data.params for one in before])
        self.set_tags({NAME: self._name, "mlflow.runName": name})

    def _find(self, experiment: str) -> list[Run]:
        """The search's runs, the one that counts first, by an order that never changes."""
        runs = self.client.search_runs(
            [experiment], f"tags.`{SEARCH_ID}` = '{self._search_id}'", ViewType.ACTIVE_ONLY
        )
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def _experiment_id(self) -> str:
        found = self.client.get_experiment_by_name(self._experiment)
        if found is None:
            location = _artifact_location(self._uri)
            try:
                return str(self.client.create_experiment(self._experiment, location, _KIND))
            except MlflowException:
                found = self.client.get_experiment_by_name(self._experiment)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise Hopeless(
                f"experiment {self._experiment!r} is deleted in MLflow: restore it there, or name "
                "another in tracking.experiment"
            )
        return str(found.experiment_id)


def title(
    name: str, params: Mapping[str, str], before: Sequence[Mapping[str, str]], most: int = 3
) -> str:
    """The name of a run: that of its search, and what differs from the first of this name.

    ``cifar10``, then ``cifar10 netAdapt.firstStep=0.04`` or ``cifar10 earlyDrop.none``, and
    ``cifar10 #3`` for the third of equals; ``cifar10 strategy=Pairs`` for a strategy of one's own.
    What is unset is named only where nothing else differs.

    Parameters
    ----------
    params : mapping
        Of this run.
    before : sequence of mapping
        Of the earlier runs of its name, the first one first.
    most : int
        Differences that are named.
    """
    if not before:
        return name
    first = before[0]
    paths = sorted({*params, *first}, key=_place)
    changed = [path for path in paths if params.get(path) != first.get(path)]
    named = [path for path in changed if path in params] or changed
    differing = [_difference(path, params.get(path, "unset")) for path in named]
    shown = " ".join([name, *differing[:most], *(["..."] if len(differing) > most else [])])
    same = sum(dict(one) == dict(params) for one in before)
    return f"{shown} #{same + 1}" if same else shown


def _place(path: str) -> tuple[bool, str]:
    """By the alphabet, but a strategy of one's own before its arguments."""
    return path != OWN_STRATEGY, path


def _difference(path: str, value: str) -> str:
    if path == OWN_STRATEGY and ":" in value:
        return f"strategy={value.rpartition(':')[2]}"
    name = ".".join(path.split(".")[-2:])
    return name if value == "{}" else f"{name}={value}"


def _check_address(uri: str) -> None:
    """An address without a host is one that no server will ever have."""
    try:
        parts = urlsplit(uri)
        named = parts.scheme not in ("http", "https") or bool(parts.hostname)
    except ValueError:
        named = False
    if not named:
        raise Hopeless(f"{uri}: names no server; must be like http://host:5000")


def _check_database(uri: str) -> None:
    """A file that SQLite cannot read is known at once; MLflow would try for minutes."""
    if not uri.startswith(SQLITE):
        return
    path = uri.removeprefix(SQLITE).partition("?")[0]
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        if error.sqlite_errorcode in _UNREADABLE:
            raise Hopeless(f"{path}: {error}") from None


def _artifact_location(uri: str) -> str | None:
    """Beside the database for SQLite, else where the server wants it."""
    if not uri.startswith(SQLITE):
        return None
    return str(Path(uri.removeprefix(SQLITE)).resolve().parent / "mlartifacts")


T = TypeVar("T")


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _millis(seconds: float) -> int:
    return int(seconds * 1000)
