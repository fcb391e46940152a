"""Every manifest of the table is refused in words that name the field.

The same table is given to a real API server in ``tests/e2e/test_crd.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fednas.errors import SpecError
from fednas.spec import load_spec

TABLE = sorted((Path(__file__).parents[2] / "manifests_bad").glob("*.yaml"))


def test_the_table_is_there() -> None:
    assert len(TABLE) >= 30


@pytest.mark.parametrize("path", TABLE, ids=lambda path: path.stem)
def test_a_bad_manifest_is_refused_by_its_field_alone(path: Path) -> None:
    field = path.read_text().splitlines()[0].removeprefix("# ")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    (line,) = caught.value.problems
    assert line.startswith(field)
    assert "; " in line
