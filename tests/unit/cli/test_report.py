from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednas.search import View
from tests.unit.cli.conftest import Command
from tests.unit.tracking.conftest import compared, recorded, write_journal


def test_json_holds_ladder_decisions_and_ledger(fednas: Command, run_folder: Path) -> None:
    said = fednas("report", run_folder, "-o", "json")
    assert (said.code, said.err) == (0, "")
    report = json.loads(said.out)
    view = View(recorded())
    assert report["name"] == "small"
    assert report["end"]["reason"] == "Completed"
    assert {"rung", "accuracy", "macs", "params", "sha256"} <= set(report["ladder"][0])
    assert [row["sha256"] for row in report["ladder"]] == [rung.sha256 for rung in view.ladder]
    assert len(report["decisions"]) == len(view.decisions)
    assert report["ledger"]["search"]["macs"] == view.ledger.search.macs
    assert set(report["selected"]) == {"phone", "hub"}


def test_text_shows_the_ladder_and_every_decision(fednas: Command, run_folder: Path) -> None:
    said = fednas("report", run_folder)
    assert said.code == 0
    for word in ("Ladder", "Decisions", "winner", "dropped", "less than naive"):
        assert word in said.out


def test_a_winners_lead_is_told_with_its_standard_error(
    fednas: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fednas("report", run_folder).out
    assert "±" not in old
    assert "standard errors" not in old
    write_journal(run_folder, compared())
    monkeypatch.setenv("COLUMNS", "120")
    text = fednas("report", run_folder).out
    assert text.count("+0.5000 ±0.0500") == 1
    assert text.count("+0.5000 ±0.5000") == 3
    assert "1 of 4 winners lead the runner-up by more than two standard errors" in text
    rows = json.loads(fednas("report", run_folder, "-o", "json").out)["decisions"]
    assert [row["lead"] for row in rows if row["outcome"] == "winner"] == pytest.approx([0.5] * 4)
    assert all("standardError" in row for row in rows)


def test_a_narrow_screen_wraps_the_lead_and_nothing_else(
    fednas: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(run_folder, compared())
    monkeypatch.setenv("COLUMNS", "80")
    told = fednas("report", run_folder).out.partition("Decisions")[2]
    assert "…" not in told
    assert told.count("+0.5000 ") == 4
    for row in View(recorded()).decisions:
        assert f"{row['widthBefore']}->{row['widthAfter']}" in told


def test_a_search_under_way_can_be_reported(fednas: Command, run_folder: Path) -> None:
    (run_folder / "journal" / "end.json").unlink()
    for part in ("0002", "0003", "0004", "0005"):
        for path in sorted((run_folder / "journal" / part).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    report = json.loads(fednas("report", run_folder, "-o", "json").out)
    assert report["end"] is None
    assert len(report["ladder"]) == 2
    assert "Interrupted" in fednas("report", run_folder).out


def test_a_search_that_just_began_has_no_network_yet(fednas: Command, run_folder: Path) -> None:
    for path in sorted((run_folder / "journal").rglob("*.json")):
        if path.name != "start.json":
            path.unlink()
    said = fednas("report", run_folder)
    assert said.code == 0
    assert "has no network yet" in said.out
    assert json.loads(fednas("report", run_folder, "-o", "json").out)["ladder"] == []


@pytest.mark.parametrize("target", ["nowhere", "", "s3://", "s3://bucket"])
def test_what_is_no_search_is_bad_input(
    fednas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = fednas("report", target, "-o", "json")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: target: ")


def test_a_folder_without_its_spec_is_bad_input(fednas: Command, run_folder: Path) -> None:
    (run_folder / "ladder" / "search.json").unlink()
    said = fednas("report", run_folder)
    assert said.code == 2
    assert "no search was run here" in said.err


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"kind": "Pod"}', b"\xff"])
def test_a_folder_whose_spec_is_garbage_is_corrupt(
    fednas: Command, run_folder: Path, garbage: bytes
) -> None:
    (run_folder / "ladder" / "search.json").write_bytes(garbage)
    said = fednas("report", run_folder)
    assert said.code == 1
    assert "search.json: is no FederatedSearch" in said.err
