"""What ``fednas run`` leaves on the screen, and says on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fednas import open as fednas_open
from fednas.cli._screen import last_screen
from fednas.search import Ledger
from tests.unit.cli.conftest import Command

ADVICE = "a network thinned alike, which needs no search, does better"


def test_each_class_gets_its_rung_with_what_the_search_made_of_it(run_folder: Path) -> None:
    result = fednas_open(run_folder)
    screen = last_screen(result).replace("\n", " ")
    for name, rung in result.selected.items():
        assert rung is not None
        assert rung.advantage is not None
        assert rung.advantage >= 0
        assert f"{name:5}  rung {rung.rung:2}" in screen
        assert f"{100 * rung.advantage:.1f} over thinning alike" in screen
        assert rung.file in screen
        assert (f", as searched {100 * rung.searched_accuracy:.1f}," in screen) == rung.trained
    assert any(rung.trained for rung in result.selected.values() if rung)
    assert ADVICE not in screen
    assert "x screening * " in screen


def test_a_ladder_below_the_network_thinned_alike_is_said_with_what_would_help(
    run_folder: Path,
) -> None:
    result = fednas_open(run_folder)
    ladder = result.view.ladder
    ladder[:] = [replace(r, baseline_accuracy=r.searched_accuracy + 0.125) for r in ladder]
    screen = last_screen(result)
    assert "12.5 below thinning alike" in screen
    assert screen.count(ADVICE) == 1
    assert "smaller steps (firstStep)" in screen


def test_without_a_baseline_nothing_is_said_of_it(run_folder: Path) -> None:
    result = fednas_open(run_folder)
    result.view.ladder[:] = [replace(r, baseline_accuracy=None) for r in result.view.ladder]
    assert "thinn" not in last_screen(result)


def test_a_search_that_asked_no_client_says_so(run_folder: Path) -> None:
    result = fednas_open(run_folder)
    result.view.ledger = Ledger()
    assert "the clients paid nothing: candidates were ranked in the cloud" in last_screen(result)


def test_rungs_are_told_beside_the_baseline_and_again_when_they_are_trained(
    fednas: Command, run_folder: Path, spec_file: Path
) -> None:
    said = fednas("run", spec_file, "--tracking", "none")
    assert said.code == 0
    told = said.err + said.out
    assert "rung 0: the starting network, 1.000x MACs" in told
    assert told.count("% (thinned alike ") == 4
    assert "trained: accuracy" in told
    assert "% (before " in told


def test_a_report_has_the_baseline_the_loss_and_the_fate_of_each_layer_by_name(
    fednas: Command, run_folder: Path
) -> None:
    said = fednas("report", run_folder)
    assert said.code == 0
    layers = {row["layer"] for row in fednas_open(run_folder).view.decisions}
    for word in ("thinned alike", "loss", "screened", *layers):
        assert word in said.out
