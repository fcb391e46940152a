"""Every network of the zoo, and networks and strategies of one's own, by ``fednas run``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fednas
from fednas.models import FAMILIES

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "examples" / "small.yaml"
OWN = ROOT / "examples" / "own"
PATIENCE = 240.0

pytestmark = pytest.mark.slow


def run(folder: Path, file: Path, *options: str, code: int = 0) -> str:
    """``fednas run`` as its script does: the current folder is in no path."""
    command = [sys.executable, "-P", "-m", "fednas", "run", str(file), "--dir", str(folder)]
    done = subprocess.run(
        [*command, "--tracking", "none", "--workers", "1", *options],
        cwd=file.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_two_iterations_with_every_network(tmp_path: Path, name: str) -> None:
    settings = {
        "model.name": name,
        "model.args.widthMultiplier": "0.25",
        "model.initial.training.rounds": "12",
        "model.initial.training.optimizer.sgd.learningRate": "0.1",
        "strategy.netAdapt.maxIterations": "2",
        "target.macs.share": "0.3",
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run(tmp_path / "run", SMALL, *options)
    result = fednas.open(tmp_path / "run")
    assert [rung.rung for rung in result.ladder] == [0, 1, 2]
    first, *_, last = result.ladder
    assert last.macs < 0.9 * first.macs
    module = last.load()
    assert sum(parameter.numel() for parameter in module.parameters()) == last.params


def test_a_network_of_ones_own_is_searched_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "own  Complete" in run(tmp_path / "run", OWN / "search.yaml")
    result = fednas.open(tmp_path / "run")
    assert result.ladder[-1].share <= 0.6
    assert result.ladder[0].accuracy > 0.7
    monkeypatch.chdir(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert type(result.ladder[-1].load()).__name__ == "Net"
    assert str(OWN) in sys.path
    smallest = result.ladder[-1]
    again = run(tmp_path / "again", OWN / "search.yaml", "--from", str(tmp_path / "run"))
    assert "own  Complete" in again
    ladder = fednas.open(tmp_path / "again").ladder
    assert ladder[0].architecture == smallest.architecture
    assert ladder[-1].macs <= 0.6 * smallest.macs


def test_a_network_that_a_worker_cannot_import_is_one_line_and_leaves_no_journal(
    tmp_path: Path,
) -> None:
    said = run(tmp_path / "run", OWN / "search.yaml", "--set", "model.module=nets:bulid", code=2)
    assert said.splitlines()[-1] == (
        "error: spec.model.module: got 'nets:bulid'; nets has no bulid; did you mean build?"
    )
    assert not (tmp_path / "run" / "journal").exists()


def test_a_strategy_of_ones_own_is_searched_from_its_folder(tmp_path: Path) -> None:
    assert "pairs  Complete" in run(tmp_path / "run", OWN / "strategy.yaml")
    result = fednas.open(tmp_path / "run")
    start, first, second = result.ladder
    assert start.accuracy > 0.8
    assert second.share <= 0.6 < first.share <= 0.8
    for before, after in ((start, first), (first, second)):
        widths = (before.architecture.widths, after.architecture.widths)
        pair = [b != a for b, a in zip(*widths, strict=True)]
        assert sum(pair) == 2


def test_a_strategy_that_cannot_be_imported_is_one_line_and_leaves_no_journal(
    tmp_path: Path,
) -> None:
    wrong = ("--set", "strategy.module.path=strategies:Pars")
    said = run(tmp_path / "run", OWN / "strategy.yaml", *wrong, code=2)
    assert said.splitlines()[-1] == (
        "error: spec.strategy.module.path: got 'strategies:Pars'; strategies has no Pars; "
        "did you mean Pairs?"
    )
    assert not (tmp_path / "run" / "journal").exists()
