"""A recorded search exported to real MLflow servers, with kills."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fednas.search import Recorded, View
from fednas.store import Blobs, FolderStore, Journal, Layout, MinioConfig, Store
from fednas.tracking import Tracker
from fednas.tracking._points import Points
from tests.servers import Mlflow, free_port
from tests.unit.tracking.conftest import recorded, updates

mlflow_library = pytest.importorskip("mlflow")
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Run  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend

PATIENCE = 300.0  # MLflow imports slowly on a machine that has other work
ORDER = recorded()


def write(store: Store, entries: list[Recorded], layout: Layout | None = None) -> None:
    """As a search would: the tables of its rounds, and these entries."""
    layout = layout or Layout()
    for blob in updates().values():
        Blobs(store, layout.updates).put(blob)
    journal = Journal(store, layout.journal)
    for one in entries:
        journal.record(one.entry.key, one.entry.value())


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def track(
    store: Path | MinioConfig, uri: str, search_id: str, layout: Layout | None = None
) -> Tracker:
    return Tracker(store, layout or Layout(), uri, "tests", "small", search_id, poll=0.2)


def run_of(uri: str, search_id: str) -> Run:
    """The one run of a search, found by query."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    (run,) = client.search_runs(
        [experiment.experiment_id], f"tags.`fednas.searchID` = '{search_id}'"
    )
    return run


def assert_complete(uri: str, search_id: str) -> Run:
    """Every metric of the journal is in MLflow, once, and no other."""
    run, client = run_of(uri, search_id), MlflowClient(uri)
    expected: dict[str, dict[int, float]] = {}
    view, points = View(), Points()
    for one in ORDER:
        view.apply(one)
        for point in points.apply(one, view):
            expected.setdefault(point.key, {})[point.step] = point.value
    assert expected.keys() == set(run.data.metrics)
    for key, values in expected.items():
        history = client.get_metric_history(run.info.run_id, key)
        assert sorted(metric.step for metric in history) == sorted(values), key
        assert {metric.step: metric.value for metric in history} == pytest.approx(values)
    assert run.info.status == "FINISHED"
    return run


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Mlflow]:
    """A server that the test starts and kills itself."""
    server = Mlflow(tmp_path / "mlflow", free_port())
    yield server
    server.stop(signal.SIGKILL)


def test_a_search_is_one_run_with_every_metric_once(mlflow: Mlflow, tmp_path: Path) -> None:
    write(FolderStore(tmp_path), ORDER)
    with track(tmp_path, mlflow.uri, "once") as tracker:
        assert tracker.finish(PATIENCE), tracker.error
        assert (tracker.pending, tracker.error) == (0, None)
    run = assert_complete(mlflow.uri, "once")
    assert run.info.run_id == tracker.run_id
    assert run.data.params["strategy.netAdapt.earlyDrop.topK.keep"] == "2"
    assert run.data.tags["fednas.reason"] == "Completed"

    with track(tmp_path, mlflow.uri, "once") as again:
        assert again.finish(PATIENCE), again.error
    assert assert_complete(mlflow.uri, "once").info.run_id == run.info.run_id


def test_every_round_and_every_dropped_candidate_is_found_by_query(
    mlflow: Mlflow, tmp_path: Path
) -> None:
    view = View(ORDER)
    write(FolderStore(tmp_path), ORDER)
    with track(tmp_path, mlflow.uri, "query") as tracker:
        assert tracker.finish(PATIENCE), tracker.error
    run = run_of(mlflow.uri, "query")
    mlflow_library.set_tracking_uri(mlflow.uri)
    mlflow_library.set_experiment("tests")

    decisions = mlflow_library.load_table("decisions.json", run_ids=[run.info.run_id])
    dropped = decisions[decisions.outcome == "dropped"]
    assert [(row.iteration, row.candidate, row.widthAfter) for row in dropped.itertuples()] == [
        (row["iteration"], row["candidate"], row["widthAfter"])
        for row in view.decisions
        if row["outcome"] == "dropped"
    ]
    rounds = mlflow_library.load_table("rounds.json", run_ids=[run.info.run_id])
    assert list(rounds.weights) == [row["weights"] for row in view.rounds]
    artifacts = {file.path for file in MlflowClient(mlflow.uri).list_artifacts(run.info.run_id)}
    assert artifacts == {
        "decisions.json", "figure.png", "figure.svg", "ladder.json", "ledger.json", "rounds.json"
    }  # fmt: skip


def test_kills_of_the_exporter_and_of_the_server_lose_and_double_nothing(
    own_server: Mlflow, tmp_path: Path
) -> None:
    """The server comes late and dies once; the exporter dies with metrics sent and unsent."""
    folder = tmp_path / "search"
    parts = [ORDER[:20], ORDER[20:40], ORDER[40:60], ORDER[60:]]

    def kill_exporter() -> None:
        process = tracker._process
        assert process is not None
        process.kill()

    with track(folder, own_server.uri, "kills") as tracker:
        write(FolderStore(folder), parts[0])
        until(lambda: tracker.error is not None and tracker.pending > 0)  # there is no server
        own_server.start()
        until(lambda: tracker.exported > 0)
        write(FolderStore(folder), parts[1])
        kill_exporter()
        write(FolderStore(folder), parts[2])
        own_server.stop(signal.SIGKILL)
        until(lambda: tracker.pending > 0)
        kill_exporter()
        write(FolderStore(folder), parts[3])
        own_server.start()
        assert tracker.finish(PATIENCE), tracker.error
    assert_complete(own_server.uri, "kills")


def test_a_server_that_never_answers_delays_nobody(tmp_path: Path) -> None:
    write(FolderStore(tmp_path), ORDER)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        tracker = track(tmp_path, f"http://127.0.0.1:{mute.getsockname()[1]}", "mute")
        assert time.monotonic() - began < 5
        until(lambda: tracker.pending > 0)
        assert not tracker.finish(0.1)
        began = time.monotonic()
        tracker.close(timeout=1)
        assert time.monotonic() - began < 15
        process = tracker._process
        assert process is not None
        assert process.poll() is not None


def test_an_interrupted_run_says_so_and_goes_on(tmp_path: Path) -> None:
    """With SQLite, whose artifacts lie beside the database."""
    uri, folder = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "search"
    write(FolderStore(folder), ORDER[:40])
    with track(folder, uri, "pause") as tracker:
        until(lambda: tracker.run_id is not None and tracker.pending == 0)
    assert run_of(uri, "pause").info.status == "KILLED"
    write(FolderStore(folder), ORDER)
    with track(folder, uri, "pause") as tracker:
        assert tracker.finish(PATIENCE), tracker.error
    run = assert_complete(uri, "pause")
    assert Path(run.info.artifact_uri).is_relative_to(tmp_path / "mlartifacts")
    assert {path.name for path in tmp_path.iterdir()} == {"mlartifacts", "mlflow.db", "search"}


def test_it_leaves_when_its_parent_is_gone(tmp_path: Path) -> None:
    """Its standard input ends, as when the parent is killed; the search is not over."""
    write(FolderStore(tmp_path / "search"), ORDER[:40])
    config = {
        "store": {"folder": str(tmp_path / "search")},
        "journal": "journal/",
        "updates": "journal/updates/",
        "uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "experiment": "tests",
        "name": "small",
        "searchID": "orphan",
        "poll": 0.2,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "fednas.tracking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as exporter:
        assert exporter.stdin is not None
        assert exporter.stdout is not None
        exporter.stdin.write(json.dumps(config) + "\n")
        exporter.stdin.flush()
        while json.loads(exporter.stdout.readline()).get("runID") is None:
            pass
        exporter.stdin.close()
        assert exporter.wait(60) in (0, 1)  # 1: it was cut short


def test_a_journal_in_a_bucket_is_read_with_the_buckets_credentials(
    bucket: MinioConfig, tmp_path: Path
) -> None:
    layout, uri = Layout("abc"), f"sqlite:///{tmp_path / 'mlflow.db'}"
    write(bucket.open(), ORDER, layout)
    with track(bucket, uri, "bucket", layout) as tracker:
        assert tracker.finish(PATIENCE), tracker.error
    assert_complete(uri, "bucket")


def test_a_second_run_that_was_created_late_is_removed(tmp_path: Path) -> None:
    uri, folder = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "search"
    write(FolderStore(folder), ORDER)
    client = MlflowClient(uri)
    experiment = client.create_experiment("tests", str(tmp_path / "mlartifacts"))
    for _ in range(2):
        client.create_run(experiment, tags={"fednas.searchID": "twice"})
    with track(folder, uri, "twice") as tracker:
        assert tracker.finish(PATIENCE), tracker.error
    assert_complete(uri, "twice")


def test_an_experiment_that_was_deleted_is_not_waited_for(mlflow: Mlflow, tmp_path: Path) -> None:
    client = MlflowClient(mlflow.uri)
    client.delete_experiment(client.create_experiment("deleted"))
    write(FolderStore(tmp_path), ORDER)
    with Tracker(tmp_path, Layout(), mlflow.uri, "deleted", "small", "x", poll=0.2) as tracker:
        assert not tracker.finish(PATIENCE)
        assert tracker.hopeless
        assert tracker.undelivered == 0
        assert "experiment 'deleted' is deleted in MLflow" in str(tracker.error)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("foo://bar", "no such kind of server"),
        ("sqlite:///{tmp}/not.db", "is not a database"),
        ("sqlite:///{tmp}", "unable to open"),
        ("http:/host", "names no server"),
        ("file://{tmp}/mlruns", "in folders"),
        ("sqlite:///{tmp}/not.db/mlflow.db", "cannot hold MLflow's database"),
    ],
)
def test_what_is_no_tracking_server_is_not_waited_for(tmp_path: Path, uri: str, words: str) -> None:
    (tmp_path / "not.db").write_bytes(b"garbage " * 1000)
    write(FolderStore(tmp_path / "search"), ORDER)
    with track(tmp_path / "search", uri.format(tmp=tmp_path), "x") as tracker:
        assert not tracker.finish(PATIENCE)
        assert tracker.hopeless
        assert words in str(tracker.error)


def test_a_server_that_is_away_is_named_soon(tmp_path: Path) -> None:
    write(FolderStore(tmp_path), ORDER)
    with track(tmp_path, "http://127.0.0.1:1", "away") as tracker:
        until(lambda: tracker.error is not None)
        assert tracker.run_id is None
        assert "127.0.0.1" in str(tracker.error)
        assert tracker.undelivered > 0
        assert not tracker.hopeless


def test_a_login_in_the_environment_reaches_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    logins: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers["Authorization"])
            self.send_error(401)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    write(FolderStore(tmp_path), ORDER)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with track(tmp_path, f"http://127.0.0.1:{server.server_port}", "login"):
            until(lambda: bool(logins))
        server.shutdown()
    assert logins[0] == "Basic " + base64.b64encode(b"ada:secret").decode()


def test_a_journal_that_makes_no_sense_is_not_waited_for(tmp_path: Path) -> None:
    holed = [one for one in ORDER if one.entry.key != "0001/rung"]
    write(FolderStore(tmp_path / "search"), holed)
    with track(tmp_path / "search", f"sqlite:///{tmp_path / 'mlflow.db'}", "x") as tracker:
        assert not tracker.finish(PATIENCE)
        assert tracker.hopeless
        assert "a rung is missing" in str(tracker.error)
