"""``fednas run`` where it does not come to any training."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import ClassVar

import pytest

from fednas import FederatedSearch, api
from fednas import open as open_run
from tests.unit.cli.conftest import Command


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
    assert "small  Complete  5 models" in said.out
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
    assert "spec.strategy.netAdapt.maxIterations: 4 -> 9" in said.err
    advice = said.err.splitlines()[-1]
    assert advice.endswith("--from runs/small --rung 4 --dir runs/small-from-4")
    assert snapshot(run_folder) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rung", "1"], "--rung: is one of another search's; must come with --from TARGET"),
        (["--from", "runs/small", "--rung", "5"], "got 5; must be one of those of runs/small: 0 "),
        (["--from", "runs/none"], "--from: runs/none is no run folder"),
        (["--from", "runs/small"], "give a new folder, such as --dir runs/small-from-4"),
    ],
)
def test_a_rung_to_start_from_that_cannot_be_had_is_named_and_nothing_is_touched(
    fednas: Command, run_folder: Path, spec_file: Path, options: list[str], words: str
) -> None:
    before = snapshot(run_folder)
    said = fednas("run", spec_file, "--tracking", "none", *options)
    assert said.code == 2
    assert words in said.err
    assert snapshot(run_folder) == before


def test_a_rung_to_start_from_is_the_last_unless_one_is_named(
    fednas: Command, run_folder: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str | None] = []

    def begun(search: FederatedSearch, **_: object) -> None:
        assert search.spec.model.initial.training is None
        named.append(search.spec.model.initial.weights)

    monkeypatch.setattr(api, "run", begun)
    odd = run_folder.rename(run_folder.with_name("a: b #1"))
    for rung in ([], ["--rung", "0"]):
        assert fednas("run", spec_file, "--dir", "new", "--from", odd, *rung).code == 0
    last = open_run(odd).ladder[-1]
    assert named == [last.uri, str(odd / "ladder" / "rung-00.safetensors")]


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
    end = {"version": 2, "reason": "QuorumMissed", "message": "nobody came", "failed": True}
    (run_folder / "journal" / "end.json").write_text(json.dumps(end | {"rungs": 4}))
    said = fednas("run", spec_file, "--tracking", "none")
    assert said.code == 1
    assert "QuorumMissed: nobody came" in said.err


@pytest.mark.parametrize(
    ("garbage", "code", "words"),
    [
        (b"{", 1, "StoreCorrupt"),
        (b'{"version":2}', 1, "StoreCorrupt"),
        (b'{"version":3}', 1, "has version 3; this fednas reads 2"),
    ],
)
def test_a_damaged_journal_is_named_and_left_alone(
    fednas: Command, run_folder: Path, spec_file: Path, garbage: bytes, code: int, words: str
) -> None:
    record = run_folder / "journal" / "0001" / "rung.json"
    record.write_bytes(garbage)
    before = snapshot(run_folder / "journal")
    for arguments in (["run", spec_file, "--tracking", "none"], ["report", run_folder]):
        said = fednas(*arguments)
        assert said.code == code
        assert words in said.err
        assert "0001/rung" in said.err
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
        ("data.source=empty", "empty: no train"),
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


def test_a_folder_above_this_one_is_a_run_folder_too(
    fednas: Command, run_folder: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = run_folder.parent / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert fednas("run", spec_file, "--dir", "../small", "--tracking", "none").code == 0
    assert fednas("report", "../small").code == 0


def test_what_was_read_is_said_at_the_start(fednas: Command, spec_file: Path) -> None:
    said = fednas(
        "run", spec_file, "--dir", "new", "--tracking", "none", "--set", "training.batchSize=1"
    )
    assert "1437 training and 360 test rows of 1x8x8, 10 classes" in said.err


def test_a_batch_that_batch_norm_cannot_train_on_is_refused(
    fednas: Command, spec_file: Path
) -> None:
    said = fednas(
        "run", spec_file, "--dir", "new", "--tracking", "none", "--set", "training.batchSize=1"
    )
    assert said.code == 2
    assert "spec.training.batchSize: got 1; must be at least 2" in said.err
    assert not Path("new/journal").exists()


def test_the_result_is_shown_before_mlflow_is_waited_for_and_ctrl_c_skips(
    fednas: Command, run_folder: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        hopeless, error, undelivered = False, "http://127.0.0.1:1 does not answer", 3

        def finish(self, seconds: float) -> bool:
            if seconds > 1:
                raise KeyboardInterrupt
            return False

        def close(self) -> None:
            pass

    monkeypatch.setattr(api, "_tracker", lambda *_: Away())
    said = fednas("run", spec_file)
    assert said.code == 0
    assert "small  Complete  5 models" in said.out
    assert "waiting for MLflow (http://127.0.0.1:1 does not answer); Ctrl-C skips" in said.err


def test_what_waiting_for_mlflow_cannot_mend_is_not_waited_for(
    fednas: Command, run_folder: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deleted:
        hopeless, error, undelivered = True, "experiment 'fednas' is deleted", 0
        waits: ClassVar[list[float]] = []

        def finish(self, seconds: float) -> bool:
            self.waits.append(seconds)
            return False

        def close(self) -> None:
            pass

    monkeypatch.setattr(api, "_tracker", lambda *_: Deleted())
    assert fednas("run", spec_file).code == 0
    assert max(Deleted.waits) <= 1
