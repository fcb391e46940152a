"""Real worker processes over a folder; the pool is shared, since its start costs seconds."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest

from fednas.data import encode_rows, load_dataset
from fednas.errors import Corrupt, DiedInTask, OtherNumerics, TaskFailed, TrainingDiverged
from fednas.fleet import LocalFleet, StoreSource, _local
from fednas.fleet._cache import FileCache
from fednas.models import decode, encode, start_architecture
from fednas.store import Blobs, FolderStore, Layout, digest_of
from fednas.work import ACCEPT, AGGREGATE, Accept, Aggregate, Pending, Task, execute

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10)
LAYOUT = Layout()
PATIENCE = 300


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    return FolderStore(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def fleet(store: FolderStore) -> Iterator[LocalFleet]:
    fleet = LocalFleet(partial(FolderStore, store.root), LAYOUT, workers=1)
    yield fleet
    fleet.close()


def initialise(seed: int = 0) -> Task:
    params = {"architecture": NETWORK.model_dump()}
    return Task(id=f"init/{seed}", kind="initialise", client="cloud", params=params, seed=seed)


def train(store: FolderStore, fleet: LocalFleet, epochs: float) -> Task:
    digits = load_dataset("digits")
    rows = Blobs(store, LAYOUT.data).put(encode_rows(digits.images[:200], digits.labels[:200]))
    start = fleet.submit(initialise()).future.result(PATIENCE).outputs["weights"]
    sgd = {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.0}
    return Task(
        id="1/pre/conv/1/phone-0",
        kind="train",
        client="phone-0",
        inputs={"weights": start},
        params={
            "architecture": NETWORK.model_dump(),
            "epochs": epochs,
            "batch_size": 16,
            "sgd": sgd,
        },
        data={"shard": rows},
        seed=3,
    )


def wait_until_at_work(fleet: LocalFleet, pending: Pending) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fleet._running[id(pending)].running():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_workers() -> None:
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)


def test_results_lie_in_the_store_and_costs_are_measured(
    store: FolderStore, fleet: LocalFleet
) -> None:
    result = fleet.submit(initialise()).future.result(PATIENCE)
    blob = Blobs(store, LAYOUT.blobs).get(result.outputs["weights"])
    assert result.sizes == {"weights": len(blob)}
    assert result.usage.wall_seconds > 0
    assert result.usage.peak_rss_bytes > 1e6


def test_a_task_whose_worker_is_killed_is_done_again_to_the_same_bits(
    store: FolderStore, fleet: LocalFleet
) -> None:
    task = train(store, fleet, epochs=20)
    undisturbed = fleet.submit(task).future.result(PATIENCE)
    pending = fleet.submit(task)
    wait_until_at_work(fleet, pending)
    kill_workers()
    again = pending.future.result(PATIENCE)
    assert again.outputs == undisturbed.outputs
    assert again.sums == undisturbed.sums


def test_a_worker_killed_while_idle_costs_nothing(fleet: LocalFleet) -> None:
    expected = fleet.submit(initialise(1)).future.result(PATIENCE).outputs
    for _ in range(2):
        kill_workers()
        pendings = [fleet.submit(initialise(1)) for _ in range(3)]
        for pending in pendings:
            assert pending.future.result(PATIENCE).outputs == expected


def test_workers_come_back_when_the_process_that_forks_them_is_killed(fleet: LocalFleet) -> None:
    expected = fleet.submit(initialise(1)).future.result(PATIENCE).outputs
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGKILL)
    assert fleet.submit(initialise(1)).future.result(PATIENCE).outputs == expected


def test_a_task_that_kills_its_worker_three_times_is_given_up(
    store: FolderStore, fleet: LocalFleet
) -> None:
    pending = fleet.submit(train(store, fleet, epochs=100))
    over = threading.Event()

    def killer() -> None:
        while not over.wait(0.02):
            running = fleet._running.get(id(pending))
            if running is not None and running.running():
                kill_workers()

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        with pytest.raises(DiedInTask, match=r"1/pre/conv/1/phone-0: its worker process died 3"):
            pending.future.result(PATIENCE)
    finally:
        over.set()
        thread.join()
    assert fleet.submit(initialise()).future.result(PATIENCE).outputs


def test_a_failing_task_names_itself_and_the_worker_lives_on(fleet: LocalFleet) -> None:
    wrong = Task(id="7/odd", kind="train", client="phone-0")
    with pytest.raises(TaskFailed, match=r"7/odd: params\.architecture: Field required"):
        fleet.submit(wrong).future.result(PATIENCE)
    with pytest.raises(TaskFailed, match="kind 'dream': unknown"):
        fleet.submit(Task(id="1", kind="dream", client="x")).future.result(PATIENCE)


def test_training_that_diverges_is_not_done_again_and_keeps_its_name(
    store: FolderStore, fleet: LocalFleet
) -> None:
    task = train(store, fleet, epochs=1)
    blobs = Blobs(store, LAYOUT.blobs)
    huge = blobs.put(encode(decode(blobs.get(task.inputs["weights"])) * np.float32(1e30)))
    with pytest.raises(TrainingDiverged, match="lower the optimizer's learningRate"):
        fleet.submit(task.model_copy(update={"inputs": {"weights": huge}})).future.result(PATIENCE)


@pytest.mark.parametrize("kept", [-1, -9])
def test_a_damaged_shard_is_corrupt_and_says_what_to_do(
    store: FolderStore, fleet: LocalFleet, kept: int
) -> None:
    digits = load_dataset("digits")
    data = encode_rows(digits.images[:-kept], digits.labels[:-kept])
    digest = digest_of(data)
    filler = b"\7" if kept == -1 else b""  # a foreign byte, and a cut
    store.put(LAYOUT.data + digest, data[:kept] + filler)
    task = train(store, fleet, epochs=1).model_copy(update={"data": {"shard": digest}})
    with pytest.raises(Corrupt, match=f"{digest}: its bytes .* delete the file and run again"):
        fleet.submit(task).future.result(PATIENCE)


def test_a_cancelled_task_gives_nothing_and_frees_its_worker(
    store: FolderStore, fleet: LocalFleet
) -> None:
    pending = fleet.submit(train(store, fleet, epochs=100))
    wait_until_at_work(fleet, pending)
    fleet.cancel(pending)
    with pytest.raises(CancelledError):
        pending.future.result(PATIENCE)
    assert fleet.submit(initialise()).future.result(PATIENCE).outputs


def test_a_closed_fleet_ends_its_workers_and_cancels_what_comes_late(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    fleet = LocalFleet(partial(FolderStore, tmp_path), LAYOUT, workers=1)
    fleet.submit(initialise()).future.result(PATIENCE)
    assert set(multiprocessing.active_children()) != before
    fleet.close()
    assert set(multiprocessing.active_children()) <= before
    assert fleet.submit(initialise()).future.cancelled()
    fleet.close()


FLEET = """
    from fednas.fleet import LocalFleet
    from fednas.store import FolderStore, Layout
    fleet = LocalFleet(partial(FolderStore, folder), Layout(), workers=1)
    fleet.close()
"""
CLIENT = """
    from fednas.fleet._cache import FileCache
    from fednas.fleet._client import Client
    from fednas.fleet._connection import Connection
    connection = Connection("http://127.0.0.1:9")
    client = Client(connection, FileCache(folder, 9), device_class="a", name="a", workers=1,
                    exit_when_over=True)
    client._leave()
"""


@pytest.mark.parametrize("program", [FLEET, CLIENT], ids=["fleet", "client"])
def test_the_environment_of_the_program_is_left_alone(tmp_path: Path, program: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom functools import partial\nfrom pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        "    before = dict(os.environ)" + program + "    left = dict(os.environ)\n"
        "    assert left == before, set(left) ^ set(before)\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    subprocess.run([sys.executable, str(script)], check=True, env=env, timeout=PATIENCE)


def test_a_worker_of_other_bits_is_no_worker_of_this_pool(fleet: LocalFleet) -> None:
    fleet.submit(initialise()).future.result(PATIENCE)
    known, fleet._numerics = fleet._numerics, "0" * 64
    try:
        with pytest.raises(OtherNumerics, match="train to other bits"):
            fleet.submit(initialise()).future.result(PATIENCE)
    finally:
        fleet._numerics = known
    assert len(known) == 64


class Counting(FolderStore):
    """Counts what is read."""

    def get(self, key: str) -> bytes:
        reads.append(key)
        return super().get(key)


reads: list[str] = []


def test_an_upload_is_read_from_the_store_once(tmp_path: Path) -> None:
    source = StoreSource(Counting(tmp_path / "store"), LAYOUT, FileCache(tmp_path / "cache", 10**6))
    reads.clear()
    vectors = {f"phone-{i}": encode(np.full(5, i, np.float32)) for i in range(3)}
    inputs = {}
    for client, blob in vectors.items():
        key = f"{LAYOUT.uploads}{client}"
        source.store.put(key, blob)
        accept = Accept(upload=key, digest=digest_of(blob), elements=5)
        accepted = execute(ACCEPT.task(client, accept), source)
        inputs[client] = source.put(accepted.outputs["update"], durable=True)
    weights = Aggregate(weights=dict.fromkeys(vectors, 1))
    mean = execute(AGGREGATE.task("mean", weights, inputs=inputs), source)
    assert decode(mean.outputs["mean"]).tolist() == [1.0] * 5
    assert reads == [f"{LAYOUT.uploads}{client}" for client in vectors]
    # Another program, whose cache is empty, reads them from the store.
    elsewhere = StoreSource(Counting(tmp_path / "store"), LAYOUT)
    again = execute(AGGREGATE.task("mean", weights, inputs=inputs), elsewhere)
    assert again.outputs == mean.outputs


def test_workers_with_a_cache_average_what_they_accepted_without_the_store(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    fleet = LocalFleet(
        partial(FolderStore, store.root), LAYOUT, workers=1, cache=tmp_path / "cache"
    )
    try:
        inputs = {}
        for number in range(2):
            blob, key = encode(np.full(5, number, np.float32)), f"{LAYOUT.uploads}{number}"
            store.put(key, blob)
            look = Accept(upload=key, digest=digest_of(blob), elements=5)
            done = fleet.submit(ACCEPT.task(f"accept/{number}", look)).future.result(PATIENCE)
            inputs[f"phone-{number}"] = done.outputs["update"]
            store.delete(LAYOUT.blobs + done.outputs["update"], key)
        weights = Aggregate(weights=dict.fromkeys(inputs, 1))
        mean = fleet.submit(AGGREGATE.task("mean", weights, inputs=inputs)).future.result(PATIENCE)
    finally:
        fleet.close()
    assert decode(Blobs(store, LAYOUT.blobs).get(mean.outputs["mean"])).tolist() == [0.5] * 5


def test_workers_keep_no_more_in_their_cache_than_it_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_local, "CACHE_BYTES", 100)
    monkeypatch.setattr(_local._worker, "begin", lambda parent: None)
    for name in ("_source", "_numerics"):
        monkeypatch.setattr(_local, name, getattr(_local, name))
    _local._begin(partial(FolderStore, tmp_path / "store"), LAYOUT, os.getpid(), tmp_path / "cache")
    source = _local._source
    assert source is not None
    digests = [source.put(bytes([number]) * 40, durable=True) for number in range(4)]
    kept = [path for path in (tmp_path / "cache").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in kept) == 80
    assert [source.blob(digest)[:1] for digest in digests] == [b"\0", b"\1", b"\2", b"\3"]


def test_a_cache_that_cannot_be_written_costs_nobody_a_task(tmp_path: Path) -> None:
    source = StoreSource(Counting(tmp_path / "store"), LAYOUT, FileCache(tmp_path / "cache", 10**6))
    shutil.rmtree(tmp_path / "cache")
    blob = encode(np.ones(5, np.float32))
    digest = source.put(blob, durable=True)
    reads.clear()
    assert source.blob(digest) == blob
    assert reads == [LAYOUT.blobs + digest]
