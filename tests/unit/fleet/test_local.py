"""Real worker processes over a folder; the pool is shared, since its start costs seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest

from fednas.data import encode_rows, load_dataset
from fednas.errors import Corrupt, DiedInTask, TaskFailed
from fednas.federation import Pending, Task
from fednas.fleet import LocalFleet, TaskDone, WatchedFleet
from fednas.models import start_architecture
from fednas.store import Blobs, FolderStore, Layout, digest_of

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10)
LAYOUT = Layout()
PATIENCE = 60.0


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
    optimizer = {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.0}
    return Task(
        id="1/pre/conv/1/phone-0",
        kind="train",
        client="phone-0",
        inputs={"weights": start},
        params={
            "architecture": NETWORK.model_dump(),
            "epochs": epochs,
            "batch_size": 16,
            "optimizer": optimizer,
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
    assert result.scalars == {"bytes": len(blob)}
    assert result.cost.wall_seconds > 0
    assert result.cost.peak_rss_bytes > 1e6


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
    assert again.scalars == undisturbed.scalars


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
    with pytest.raises(TaskFailed, match="7/odd: KeyError"):
        fleet.submit(wrong).future.result(PATIENCE)
    with pytest.raises(TaskFailed, match="kind 'dream': unknown"):
        fleet.submit(Task(id="1", kind="dream", client="x")).future.result(PATIENCE)


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
    told: list[TaskDone] = []
    watched = WatchedFleet(fleet, told.append)
    pending = watched.submit(train(store, fleet, epochs=100))
    wait_until_at_work(fleet, pending)
    watched.cancel(pending)
    with pytest.raises(CancelledError):
        pending.future.result(PATIENCE)
    done = watched.submit(initialise())
    assert done.future.result(PATIENCE).outputs
    failed = watched.submit(Task(id="odd", kind="dream", client="x"))
    with pytest.raises(TaskFailed):
        failed.future.result(PATIENCE)
    assert [(event.task.id, event.result is None) for event in told] == [
        ("init/0", False),
        ("odd", True),
    ]
    assert told[1].reason is not None
    assert told[1].reason.startswith("TaskFailed: kind 'dream'")


def test_a_closed_fleet_ends_its_workers_and_cancels_what_comes_late(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    fleet = LocalFleet(partial(FolderStore, tmp_path), LAYOUT, workers=1)
    fleet.submit(initialise()).future.result(PATIENCE)
    assert set(multiprocessing.active_children()) != before
    fleet.close()
    assert set(multiprocessing.active_children()) <= before
    assert fleet.submit(initialise()).future.cancelled()
    fleet.close()
