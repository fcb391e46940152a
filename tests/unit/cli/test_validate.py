from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command


def test_a_right_file_is_valid(fednas: Command, spec_file: Path) -> None:
    said = fednas("validate", spec_file)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{spec_file}: small is valid\n"


def test_an_unknown_field_gets_the_nearest_name(fednas: Command, spec_file: Path) -> None:
    text = spec_file.read_text().replace('"batchSize"', '"batchsize"')
    spec_file.write_text(text)
    said = fednas("validate", spec_file)
    assert said.code == 2
    assert "spec.training.batchsize" in said.err
    assert "batchSize" in said.err


def test_what_is_set_counts_and_warnings_are_no_errors(fednas: Command, spec_file: Path) -> None:
    said = fednas("validate", spec_file, "--set", "strategy.netAdapt.maxIterations=1")
    assert said.code == 0
    assert said.err.startswith("warning: ")
    said = fednas("validate", spec_file, "--set", "target.macs.share=1.5")
    assert said.code == 2
    assert "spec.target.macs.share: got 1.5" in said.err


@pytest.mark.parametrize(
    "content", [None, b"", b"\0\1", b"[1", b"- 1", b"\xff\xfe\x00", b"a: &x [*x]"]
)
def test_what_is_no_spec_is_bad_input(
    fednas: Command, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "odd.yaml"
    if content is not None:
        path.write_bytes(content)
    said = fednas("validate", path)
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert fednas("validate", tmp_path).code == 2


@pytest.mark.parametrize("by", ["namespace", "storage"])
def test_a_file_as_tracking_server_is_refused_where_the_search_is_a_cluster_s(
    fednas: Command, spec_file: Path, by: str
) -> None:
    sqlite = ("--set", "tracking.uri=sqlite:///mlflow.db")
    said = fednas("validate", spec_file, *sqlite)
    assert said.code == 0
    assert said.err.startswith("warning: spec.tracking.uri: ")
    spec = json.loads(spec_file.read_text())
    if by == "namespace":
        spec["metadata"]["namespace"] = "team"
    else:
        spec["spec"]["storage"] = {"endpoint": "http://s:9", "bucket": "abc", "secretName": "s"}
    spec_file.write_text(json.dumps(spec))
    said = fednas("validate", spec_file, *sqlite)
    assert said.code == 2
    assert "spec.tracking.uri: got 'sqlite:///mlflow.db'; must be" in said.err
    assert fednas("validate", spec_file, "--set", "tracking.uri=http://mlflow:5000").code == 0
