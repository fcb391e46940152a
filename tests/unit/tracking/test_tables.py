from __future__ import annotations

import json

import pytest

from fednas.search import Recorded, View
from fednas.tracking._tables import description, files, flatten, start_tags
from tests.unit.tracking.conftest import compared


def test_params_are_named_by_their_path_in_the_spec() -> None:
    spec = {
        "seed": 0,
        "partition": {"iid": {}},
        "strategy": {"netAdapt": {"firstStep": 0.05}},
        "deviceClasses": [{"name": "phone", "clients": 8}, {"name": "hub", "clients": 4}],
    }
    assert flatten(spec) == {
        "seed": "0",
        "partition.iid": "{}",
        "strategy.netAdapt.firstStep": "0.05",
        "deviceClasses.phone.clients": "8",
        "deviceClasses.hub.clients": "4",
    }


def test_params_of_a_real_spec_are_within_what_mlflow_takes(view: View) -> None:
    assert view.start is not None
    params = flatten(view.start.spec)
    assert params["strategy.netAdapt.maxIterations"] == "4"
    assert all(len(key) <= 250 and len(value) <= 6000 for key, value in params.items())


def test_tags_name_the_spec_and_the_software(view: View) -> None:
    assert view.start is not None
    tags = start_tags(view.start)
    assert len(tags["fednas.specDigest"]) == 64
    assert json.loads(tags["fednas.numerics"]) == view.start.numerics


def test_the_description_ends_with_the_reason(view: View) -> None:
    assert view.start is not None
    assert view.end is not None
    assert "8 phone" in description(view.start, None)
    assert f"**{view.end.reason}**" in description(view.start, view.end)


def test_tables_hold_every_candidate_and_every_round(view: View) -> None:
    contents, tables = files(view)
    assert set(tables) == {"decisions.json", "rounds.json", "ladder.json"}
    lengths = {name: len(json.loads(contents[name])["data"]) for name in tables}
    assert lengths == {
        "decisions.json": len(view.decisions),
        "rounds.json": len(view.rounds),
        "ladder.json": len(view.ladder),
    }


def test_the_table_of_decisions_has_the_winners_leads() -> None:
    contents, _ = files(View(compared()))
    table = json.loads(contents["decisions.json"])
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    leads = [row["lead"] for row in rows if row["outcome"] == "winner"]
    assert leads == pytest.approx([0.5] * 4)
    assert all(row["standardError"] is None for row in rows if row["outcome"] != "winner")


def test_a_search_without_a_rung_has_tables_and_no_figure(entries: list[Recorded]) -> None:
    young = View(entries[:1])
    contents, tables = files(young)
    assert "figure.png" not in contents
    assert json.loads(contents["decisions.json"])["data"] == []
    assert tables == ["decisions.json", "rounds.json"]
