from __future__ import annotations

from pathlib import Path

import pytest

from fednas.resources import read_latencies
from tests.unit.cli.conftest import Command


def test_a_table_is_written_where_the_class_names_it(
    fednas: Command, spec_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "phone.csv"
    said = fednas(
        *("measure-latency", spec_file, "--device-class", "phone", "--passes", 1),
        *("--set", f"deviceClasses.phone.latencyTable={path}"),
    )
    assert said.code == 0
    text = path.read_text()
    table = read_latencies(text, str(path))
    assert {key[0] for key in table.surfaces} == {"conv+batch_norm+relu", "linear"}
    assert said.out.startswith(f"{path}: {len(text.splitlines()) - 1} rows; ")
    assert all(",phone," in line for line in text.splitlines()[1:])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--device-class", "tv"], "--device-class: got 'tv'; must be one of phone, hub"),
        (["--out", "no/such/table.csv"], "--out: no/such/table.csv: no such folder: no/such"),
        (
            ["--set", "data.source=s3://fednas/data"],
            "spec.data.source: got s3://fednas/data, which lies in a cluster's store; "
            "give a local copy",
        ),
    ],
)
def test_what_cannot_be_measured_is_bad_input(
    fednas: Command, spec_file: Path, arguments: list[str], problem: str
) -> None:
    said = fednas("measure-latency", spec_file, *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {problem}")
