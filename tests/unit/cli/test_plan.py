from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Command


def test_a_plan_says_schedule_costs_and_time(fednas: Command, spec_file: Path) -> None:
    said = fednas("plan", spec_file, "--workers", "2")
    assert said.code == 0
    first, search, trainings, each, time = said.out.splitlines()
    assert first.startswith("small  4 iterations of ")
    assert " rounds of one candidate by one of 4 groups; " in search
    assert trainings.startswith("initial training: 1.96 GMAC, ")
    assert "final training of 2 rungs: " in trainings
    assert "x less than naive, " in each
    assert time.endswith(" on this machine, 2 workers")


def test_a_plan_as_json_has_every_iteration(fednas: Command, spec_file: Path) -> None:
    none = "strategy.netAdapt.rounds={constant: {pre: 0, post: 0}}"
    said = fednas("plan", spec_file, "--set", none, "--workers", "1", "-o", "json")
    assert said.code == 0
    found = json.loads(said.out)
    assert (found["name"], found["clients"], found["workers"]) == ("small", 12, 1)
    assert found["search"]["most"]["macs"] == 0
    assert found["timesCheaperThanNaive"] is None
    assert found["seconds"]["least"] == found["seconds"]["most"] > 0
    shares = [one["share"] for one in found["iterations"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] <= 0.5


def test_a_plan_from_a_rung_is_of_its_network(
    fednas: Command, spec_file: Path, rung_file: Path
) -> None:
    def costs(*start: str) -> int:
        said = fednas("plan", spec_file, "--workers", "1", "-o", "json", *start)
        assert said.code == 0
        return int(json.loads(said.out)["naiveMacs"])

    rung = json.loads((rung_file.parent / "ladder.json").read_text())[3]
    assert rung["share"] < 0.7
    assert costs("--set", f"model.initial.weights={rung_file}") < 0.9 * costs()


def test_data_that_cannot_be_read_here_are_named(fednas: Command, spec_file: Path) -> None:
    said = fednas("plan", spec_file, "--set", "data.source=s3://bucket/data")
    assert said.code == 2
    assert "spec.data.source: got s3://bucket/data" in said.err
    assert "--data FOLDER" in said.err
