from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command


def test_groups_are_shown_with_what_is_cut_with_them(fednas: Command, spec_file: Path) -> None:
    said = fednas("check", spec_file, "--set", "model.name=resnet20", "-o", "json")
    assert said.code == 0
    found = json.loads(said.out)
    assert (found["network"], found["input"], found["classes"]) == ("resnet20", [1, 8, 8], 10)
    assert found["leftOut"] == []
    assert len(found["groups"]) == 12
    first, inner = found["groups"][:2]
    assert first["name"] == "stem.conv"
    assert first["cutWith"] == [f"blocks.{i}.conv2" for i in range(3)]
    assert first["readBy"][-1] == "blocks.3.shortcut"
    assert (inner["cutWith"], inner["readBy"]) == ([], ["blocks.0.conv2"])


def test_shares_are_of_the_macs_that_grow_with_the_group(fednas: Command, spec_file: Path) -> None:
    args = ["--set", "model.name=cnn", "--set", "model.args.widthMultiplier=0.25"]
    found = json.loads(fednas("check", spec_file, *args, "-o", "json").out)
    layers = [1 * 8 * 9 * 64, 8 * 8 * 9 * 16, 8 * 8 * 9 * 4, 8 * 8 * 9 * 1, 8 * 10]
    assert found["macs"] == sum(layers)
    assert [group["macsShare"] for group in found["groups"]] == [
        round((before + after) / sum(layers), 4) for before, after in pairwise(layers)
    ]


def test_the_table_has_a_row_for_each_group(fednas: Command, spec_file: Path) -> None:
    said = fednas("check", spec_file, "--set", "model.name=cnn")
    assert said.code == 0
    assert "cnn on 1x8x8, 10 classes" in said.out
    for i in range(4):
        assert f"layers.{i}.conv " in said.out
    assert "left out" not in said.out


def test_the_network_of_a_rung_that_the_search_starts_from_is_the_one_that_is_shown(
    fednas: Command, spec_file: Path, rung_file: Path
) -> None:
    rung = json.loads((rung_file.parent / "ladder.json").read_text())[3]
    start = ["--set", f"model.initial.weights={rung_file}"]
    found = json.loads(fednas("check", spec_file, *start, "-o", "json").out)
    assert found["macs"] == rung["macs"]
    assert [group["filters"] for group in found["groups"]] == rung["architecture"]["choices"][
        "widths"
    ]
    said = fednas("check", spec_file, *start, "--set", "model.name=resnet20")
    assert said.code == 2
    assert f"{rung_file}: is a rung of cnn with 4 groups for 10 classes of 1x8x8" in said.err
    assert "must be of resnet20 with 12 groups" in said.err


def own(spec_file: Path, module: str, widths: list[int]) -> Path:
    document = json.loads(spec_file.read_text())
    document["spec"]["model"] = {"module": module, "args": {"widths": widths}}
    spec_file.write_text(json.dumps(document))
    return spec_file


def test_what_is_left_out_of_ones_own_network_is_shown(fednas: Command, spec_file: Path) -> None:
    file = own(spec_file, "tests.unit.space.own:in_part", [4, 6])
    said = fednas("check", file)
    assert said.code == 0
    assert "left out: first, 4 filters: between: GroupNorm layers are not cut" in said.out


@pytest.mark.parametrize(
    ("module", "widths", "says"),
    [
        ("nowhere.at:all", [4], "spec.model.module: got 'nowhere.at:all'; there is no module"),
        ("tests.unit.space.own:fixed", [4], "spec.model.args.widths: got 4; must be one for each"),
    ],
)
def test_a_network_that_cannot_be_searched_is_bad_input(
    fednas: Command, spec_file: Path, module: str, widths: list[int], says: str
) -> None:
    said = fednas("check", own(spec_file, module, widths))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {says}")
    assert said.err.count("\n") == 1


def test_data_in_a_bucket_need_a_local_copy(fednas: Command, spec_file: Path) -> None:
    said = fednas("check", spec_file, "--set", "data.source=s3://bucket/set")
    assert said.code == 2
    assert "give a local copy with --data FOLDER" in said.err
    assert fednas("check", spec_file, "--set", "data.source=s3://bucket/set", "--data", "digits")
