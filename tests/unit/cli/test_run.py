"""``fednas run`` where it does not come to any training."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from fednas import api
from tests.unit.cli.conftest import Command


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_search_that_has_ended_is_shown_again(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    said = fednas("run", spec_file, "--tracking", "none")
    assert said.code == 0
    assert "small  Complete  4 models" in said.out
    assert "less than naive" in said.out
    assert f"figure: {Path('runs/small/ladder/figure.png')}" in said.out
    assert "phone  rung" in said.out


def test_a_changed_spec_is_refused_with_the_list_of_changes(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    before = snapshot(run_folder)
    changes = ["--set", "training.epochs=2", "--set", "strategy.netAdapt.maxIterations=9"]
    said = fednas("run", spec_file, "--tracking", "none", *changes)
    assert said.code == 2
    assert "started with another spec; undo the change or start a new one" in said.err
    assert "spec.training.epochs: 1 -> 2" in said.err
    assert "spec.strategy.netAdapt.maxIterations: 3 -> 9" in said.err
    assert snapshot(run_folder) == before


def test_what_does_not_change_the_result_may_be_set(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    said = fednas("run", spec_file, "--tracking", "none", "--set", "suspend=true")
    assert said.code == 0


def test_two_runs_of_one_folder_are_refused(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    with (run_folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = fednas("run", spec_file, "--tracking", "none")
    assert said.code == 2
    assert "this search is being run by another process" in said.err
    assert fednas("run", spec_file, "--tracking", "none").code == 0


def test_an_interrupted_run_says_how_to_go_on(
    fednas: Command, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "run", interrupted)
    said = fednas("run", spec_file, "--dir", "elsewhere")
    assert said.code == 130
    assert "nothing is lost: the same command goes on from elsewhere" in said.err


def test_a_failed_search_is_an_error_with_its_reason(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    end = {"version": 1, "reason": "QuorumMissed", "message": "nobody came", "failed": True}
    (run_folder / "journal" / "zzz-end.json").write_text(json.dumps(end | {"rungs": 4}))
    said = fednas("run", spec_file, "--tracking", "none")
    assert said.code == 1
    assert "QuorumMissed: nobody came" in said.err


@pytest.mark.parametrize(
    ("garbage", "code", "words"),
    [
        (b"{", 1, "StoreCorrupt"),
        (b'{"version":1}', 1, "StoreCorrupt"),
        (b'{"version":2}', 1, "has version 2; this fednas reads up to 1"),
    ],
)
def test_a_damaged_journal_is_named_and_left_alone(
    fednas: Command, run_folder: Path, spec_file: Path, garbage: bytes, code: int, words: str
) -> None:
    record = run_folder / "journal" / "001" / "rung.json"
    record.write_bytes(garbage)
    before = snapshot(run_folder / "journal")
    for arguments in (["run", spec_file, "--tracking", "none"], ["report", run_folder]):
        said = fednas(*arguments)
        assert said.code == code
        assert words in said.err
        assert "001/rung.json" in said.err
    assert snapshot(run_folder / "journal") == before


def test_a_folder_that_cannot_be_written_is_bad_input(fednas: Command, spec_file: Path) -> None:
    Path("file").write_text("in the way")
    for folder in ("file", "file/below", "/proc/fednas"):
        said = fednas("run", spec_file, "--dir", folder, "--tracking", "none")
        assert said.code == 2
        assert f"{folder}: cannot be written" in said.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("data.source=nowhere", "nowhere: no such folder; spec.data.source must be"),
        ("data.source=empty", "empty: no train*.parquet there"),
        ("data.source=s3://bucket/set", "give a local copy with --data FOLDER"),
    ],
)
def test_data_that_cannot_be_read_are_bad_input_and_nothing_is_recorded(
    fednas: Command, spec_file: Path, change: str, words: str
) -> None:
    Path("empty").mkdir()
    said = fednas("run", spec_file, "--dir", "new", "--tracking", "none", "--set", change)
    assert said.code == 2
    assert words in said.err
    assert not Path("new/journal").exists()


def test_what_a_cluster_alone_needs_is_said_to_be_ignored(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    said = fednas(
        "run", spec_file, "--tracking", "none", "--set", "tracking.uri=http://mlflow:5000"
    )
    assert said.code == 0
    assert "on this machine these are ignored: tracking" in said.err
