"""The Python API on a run folder; the runs themselves are in tests/integration."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fednas
from fednas.api import Event, Finished, default_folder
from fednas.data import make_shards
from fednas.errors import BadInput, Corrupt, DataError
from fednas.fleet import LocalFleet
from fednas.local import local_shards, local_weights
from fednas.models import encode, start_architecture
from fednas.result import LadderRung, open_target
from fednas.search import Rung, View
from fednas.spec import Normalize
from fednas.store import Blobs, FolderStore, Layout, canonical_json, digest_of
from tests.unit.search.toy import DIGITS, search
from tests.unit.tracking.conftest import recorded, recorded_search, write_journal

LAYOUT = Layout()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = FolderStore(tmp_path / "run")
    write_journal(store.root)
    store.put("ladder/search.json", canonical_json(recorded_search().to_dict()))
    return tmp_path / "run"


def test_open_gives_ladder_decisions_and_ledger(folder: Path) -> None:
    result = fednas.open(folder)
    assert result.search == recorded_search()
    assert [rung.rung for rung in result.ladder] == [0, 1, 2, 3, 4]
    assert result.ladder[0].share == 1.0
    assert result.ledger.factors["total"] > 1
    paid = sum(cost.macs for cost in result.ledger.clients.of_clients().values())
    assert paid == result.ledger.search.macs + result.ledger.final.macs == result.ledger.total.macs
    json.dumps(result.ledger.to_dict())


def test_tables_are_data_frames_where_pandas_is_and_lists_of_dicts_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fednas.open(folder)
    rows = result.view.decisions
    assert list(result.decisions.columns) == list(rows[0])
    assert list(result.decisions.accuracy) == [row["accuracy"] for row in rows]
    assert len(result.rounds) == len(result.view.rounds)
    assert set(result.clients.deviceClass) == {"phone", "hub"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert result.decisions == rows


def test_best_and_selected_rungs_can_be_loaded(folder: Path) -> None:
    result = fednas.open(folder)
    assert result.best is not None
    assert result.best.accuracy == max(rung.accuracy for rung in result.ladder)
    assert isinstance(result.selected["hub"], LadderRung)
    assert set(result.selected) == {"phone", "hub"}


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_rung_can_be_copied_and_pickled(folder: Path, duplicate: Any) -> None:
    rung = fednas.open(folder).ladder[1]
    assert duplicate(rung) == rung
    assert not hasattr(rung, "nonsense")


def test_a_folder_is_named_for_its_search() -> None:
    assert default_folder(search()) == Path("runs/toy")


def test_what_is_no_run_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no run folder; fednas run makes one"):
        open_target(tmp_path)


# --- a rung --------------------------------------------------------------------------------------


def rung_of(folder: Path, blob: bytes, kept: bytes | None = None) -> LadderRung:
    """A rung of these weights, and the file that the ladder holds for it."""
    store = FolderStore(folder)
    if kept is not None:
        store.put("ladder/rung-01.safetensors", kept)
    return LadderRung(
        **vars(recorded_rung()) | {"sha256": digest_of(blob)},
        store=store,
        key="ladder/rung-01.safetensors",
    )


def recorded_rung() -> Rung:
    return View(recorded()).ladder[-1]


def test_a_rung_loads_to_a_network_in_evaluation_mode(tmp_path: Path) -> None:
    import torch

    from fednas.models import initialise

    blob = encode(initialise(recorded_rung().architecture, 3))
    network = rung_of(tmp_path, blob, blob).load()
    assert not network.training
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_rung_knows_at_which_scale_its_network_reads_pixels(tmp_path: Path) -> None:
    pixels = np.array([0, 51, 255, 102], np.uint8).reshape(1, 1, 2, 2)
    rung = rung_of(tmp_path, b"")
    assert rung.normalise(pixels).flatten().tolist() == pytest.approx([-2, -1.2, 2, -0.4], abs=1e-6)
    network = start_architecture(
        "cnn", channels=1, size=8, classes=10, normalize=Normalize(mean=(0.2,), std=(0.5,))
    )
    scaled = replace(rung, architecture=network)
    assert scaled.normalise(pixels).flatten().tolist() == pytest.approx(
        [-0.4, 0, 1.6, 0.4], abs=1e-6
    )
    assert json.loads(json.dumps(scaled.to_dict()))["architecture"]["args"]["inputMean"] == [0.2]


def test_weights_that_are_not_the_ladder_s_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rung-01\.safetensors: is not the network"):
        rung_of(tmp_path, b"right", b"wrong").load()


# --- the data of a run ---------------------------------------------------------------------------


def manifest(folder: Path) -> Path:
    (path,) = (folder / "data").glob("shards-*.json")
    return path


def test_shards_are_made_once(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    made = local_shards(search(), store, LAYOUT)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()}
    assert local_shards(search(), store, LAYOUT) == made
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()} == before
    assert made == make_shards(search(), DIGITS, digest_of)


def test_lost_shards_and_a_garbage_manifest_are_made_anew(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    made = local_shards(search(), store, LAYOUT)
    lost = Blobs(store, LAYOUT.data).path(made.clients["phone-3"].shard)
    assert lost is not None
    lost.unlink()
    assert local_shards(search(), store, LAYOUT) == made
    assert lost.exists()
    for garbage in (b"", b"{}", b"\xff"):
        manifest(tmp_path).write_bytes(garbage)
        assert local_shards(search(), store, LAYOUT) == made


def test_data_of_a_cluster_need_a_local_copy(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    remote = search("data.source=s3://bucket/set")
    with pytest.raises(BadInput, match="--data FOLDER"):
        local_shards(remote, store, LAYOUT)
    assert local_shards(remote, store, LAYOUT, data="digits").classes == 10


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere.safetensors", "No such file"),
        (".", "Is a directory"),
        ("s3://bucket/w", "--set model.initial.weights=FILE"),
    ],
)
def test_start_weights_that_cannot_be_read_name_the_field(path: str, words: str) -> None:
    with pytest.raises(BadInput, match=r"spec\.model\.initial\.weights: ") as error:
        local_weights(search(f"model.initial.weights={path}"))
    assert words in str(error.value)


def test_a_garbage_spec_in_a_run_folder_is_corrupt(folder: Path) -> None:
    (folder / "ladder" / "search.json").write_text("[1]")
    with pytest.raises(Corrupt, match=r"search\.json: is no FederatedSearch"):
        fednas.open(folder)


# --- running -------------------------------------------------------------------------------------


def test_a_search_can_be_run_where_an_event_loop_runs(folder: Path) -> None:
    threads: set[str] = set()

    async def notebook() -> fednas.Result:
        def told(event: Event) -> None:
            threads.add(threading.current_thread().name)

        return fednas.run(recorded_search(), dir=folder, tracking=None, on_event=told)

    assert len(asyncio.run(notebook()).ladder) == 5
    assert len(threads) == 1


def test_what_a_killed_worker_left_half_written_is_gone_after_the_run(folder: Path) -> None:
    left = folder / "work" / "blobs" / ".partial-0123"

    def told(event: Event) -> None:
        if isinstance(event, Finished):  # after the sweep at the start
            left.parent.mkdir(parents=True, exist_ok=True)
            left.write_bytes(b"half")

    fednas.run(recorded_search(), dir=folder, tracking=None, on_event=told)
    assert left.parent.exists()
    assert not left.exists()


def test_as_many_workers_as_the_control_group_grants(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Fleet(LocalFleet):
        def __init__(self, *arguments: Any, workers: int, **options: Any) -> None:
            asked.append(workers)
            super().__init__(*arguments, workers=workers, **options)

    monkeypatch.setattr("fednas.api.LocalFleet", Fleet)
    monkeypatch.setattr("fednas.api.available_cpus", lambda: 3)
    fednas.run(recorded_search(), dir=folder, tracking=None)
    fednas.run(recorded_search(), dir=folder, tracking=None, workers=1)
    assert asked == [3, 1]
