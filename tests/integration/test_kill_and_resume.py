"""The small search, killed: run again it ends in the same ladder, journal and counted ledger.

So does one that starts from a rung of it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fednas

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "examples" / "small.yaml"
PATIENCE = 240.0
SEED = int(os.environ.get("FEDNAS_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""Of the moments to kill at; a failing test names it."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc"),
]


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    session: int
    command: str


def processes(session: int) -> list[Process]:
    """Those of one session that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(Process(int(folder.name), int(fields[1]), session, command))
    return found


def start(folder: Path, workers: int, *options: str) -> subprocess.Popen[str]:
    """``fednas run`` in a session of its own."""
    command = [sys.executable, "-m", "fednas", "run", str(SMALL), "--dir", str(folder)]
    return subprocess.Popen(
        [*command, "--workers", str(workers), "--tracking", "none", *options],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def records(folder: Path) -> int:
    return sum(1 for _ in (folder / "journal").rglob("*.json"))


def workers_of(session: int) -> list[int]:
    """The workers: what the forkserver of a run has forked."""
    running = processes(session)
    forkers = {process.pid for process in running if "forkserver" in process.command}
    return [process.pid for process in running if process.parent in forkers]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finish(run: subprocess.Popen[str]) -> str:
    said, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, said
    assert "Traceback" not in said
    return said


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that must not depend on how often the search was killed."""
    result = fednas.open(folder)
    journal, ladder = folder / "journal", folder / "ladder"
    return {
        "ladder": result.view.ladder_rows,
        "decisions": result.view.decisions,
        "ledger": result.ledger.to_dict(),
        "journal": {
            path.relative_to(journal).as_posix(): path.read_bytes()
            for path in journal.rglob("*.json")
        },
        "weights": {path.name: path.read_bytes() for path in ladder.glob("*.safetensors")},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "small"
    said = finish(start(folder, workers=1))
    assert "small  Complete" in said
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> dict[str, Any]:
    return outcome(finished)


def test_killed_twice_and_a_worker_once_it_goes_on_to_the_same_bits(
    undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    print(f"FEDNAS_KILL_SEED={SEED}")
    draw = random.Random(SEED)
    total = len(undisturbed["journal"])
    folder = tmp_path / "small"
    moments = sorted(draw.sample(range(1, total - 5), 3))
    for workers, moment in zip(draw.sample([1, 2], 2), moments[:2], strict=True):
        run = start(folder, workers)
        wait_for(lambda run=run, moment=moment: records(folder) >= moment or run.poll() is not None)
        time.sleep(draw.uniform(0, 0.2))
        assert run.poll() is None, run.communicate()[0]
        print(f"{workers} workers, killed at {records(folder)} records of {total}, after {moment}")
        run.kill()
        run.communicate()
        wait_for(lambda run=run: not processes(run.pid))  # no worker outlives it

    run = start(folder, workers=2)
    wait_for(lambda: records(folder) >= moments[2] and bool(workers_of(run.pid)))
    victims = workers_of(run.pid)
    print(f"a worker of {len(victims)} killed at {records(folder)} records")
    os.kill(draw.choice(victims), signal.SIGKILL)
    finish(run)
    assert outcome(folder) == undisturbed
    assert not list(folder.rglob(".partial-*"))


def test_a_search_from_a_rung_is_killed_and_goes_on_to_the_same_bits(
    finished: Path, tmp_path: Path
) -> None:
    first = fednas.open(finished).ladder
    named = f"model.initial.weights={first[2].uri}"
    finish(start(tmp_path / "named", 1, "--set", named))
    undisturbed = outcome(tmp_path / "named")
    assert undisturbed["ladder"][0]["architecture"] == first[2].architecture.model_dump()
    assert undisturbed["ladder"][0]["macs"] == first[2].macs < first[0].macs
    assert undisturbed["ladder"][-1]["macs"] < first[-1].macs

    draw = random.Random(SEED)
    print(f"FEDNAS_KILL_SEED={SEED}")
    folder, options = tmp_path / "from", ("--from", str(finished), "--rung", "2")
    for moment in sorted(draw.sample(range(len(undisturbed["journal"]) - 5), 2)):
        run = start(folder, 1, *options)
        wait_for(lambda run=run, moment=moment: records(folder) >= moment or run.poll() is not None)
        assert run.poll() is None, run.communicate()[0]
        run.kill()
        run.communicate()
        wait_for(lambda run=run: not processes(run.pid))
    finish(start(folder, 2, *options))
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_an_interrupted_run_leaves_quietly_and_says_how_to_go_on(
    tmp_path: Path, seconds: float
) -> None:
    folder = tmp_path / "small"
    run = start(folder, workers=2)
    wait_for(lambda: (folder / ".lock").exists())
    time.sleep(seconds)
    os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    said, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    assert f"nothing is lost: the same command goes on from {folder}" in said.replace("\n", "")
    wait_for(lambda: not processes(run.pid))
