"""Every network with every strategy, networks and strategies of one's own among them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import fednas
from fednas.models import FAMILIES
from fednas.search import STRATEGIES as LIBRARY
from fednas.spec import load_spec
from tests.combinations import NETWORKS, OWN, STEP, STRATEGIES, combination

ROOT = Path(__file__).parents[2]
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


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the folder of one's own code, as a shell would be."""
    monkeypatch.chdir(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in ("nets", "strategies"):
        sys.modules.pop(name, None)


def test_no_network_of_the_zoo_and_no_strategy_is_left_out() -> None:
    assert set(NETWORKS) == {*FAMILIES, "own"}
    assert set(STRATEGIES) == set(LIBRARY)


@pytest.mark.parametrize("network", NETWORKS)
def test_two_iterations_of_every_strategy(tmp_path: Path, network: str, own: None) -> None:
    start: Path | None = None
    for strategy in STRATEGIES:
        folder = tmp_path / strategy
        spec = combination(network, strategy, start)
        result = fednas.run(spec, dir=folder, workers=2, tracking=None)
        ladder = result.ladder
        start = folder / "ladder" / ladder[0].file
        assert [rung.rung for rung in ladder] == [0, 1, 2], strategy
        for before, after in pairwise(ladder):
            assert after.macs <= before.macs - STEP * ladder[0].macs, strategy
            widths = zip(after.architecture.widths, before.architecture.widths, strict=True)
            assert all(now <= then for now, then in widths), strategy
        module = ladder[-1].load()
        assert sum(one.numel() for one in module.parameters()) == ladder[-1].params
        # Every iteration's candidates were trained by clients, for the rounds of both phases.
        trained = {(row["iteration"], row["phase"]) for row in result.view.rounds if row["round"]}
        assert trained >= {(1, "pre"), (1, "post"), (2, "pre"), (2, "post")}, strategy
        _as_the_strategy_says(strategy, result.view.decisions)


def _as_the_strategy_says(strategy: str, decisions: list[dict[str, Any]]) -> None:
    for iteration in (1, 2):
        rows = [row for row in decisions if row["iteration"] == iteration]
        fates = Counter(row["outcome"] for row in rows)
        names = {row["candidate"] for row in rows}
        if strategy == "uniform":
            assert names == {"uniform"}
            continue
        assert (fates["winner"], fates["dropped"]) == (1, 1), strategy
        assert fates["screened"] == len(rows) - 2
        if strategy == "random":
            assert names == {"random-0", "random-1", "random-2"}
        else:
            assert {"-" in name for name in names} == {strategy == "module"}


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


def test_the_strategy_that_the_page_builds_costs_what_its_schedule_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "own-strategy.md").read_text()
    (tmp_path / "lab.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1])
    document = yaml.safe_load((OWN / "strategy.yaml").read_text())
    document["spec"] |= yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = load_spec(document)
    foreseen = fednas.plan(spec, workers=1).forecast
    result = fednas.run(spec, dir=tmp_path / "run", workers=2, tracking=None)
    sys.modules.pop("lab")
    search = result.view.ledger.search
    assert search.client_rounds == foreseen.most.search.client_rounds == 5 * 9
    assert search.macs == pytest.approx(foreseen.most.search.macs, rel=0.01)
    assert [round(rung.share, 1) for rung in result.ladder] == [1.0, 0.9, 0.8, 0.7, 0.6]


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
