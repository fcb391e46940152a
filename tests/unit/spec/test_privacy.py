"""What may be written under ``privacy``."""

from __future__ import annotations

from typing import Any

import pytest

from fednas.errors import SpecError
from fednas.spec import FederatedSearch, identity, load_spec
from tests.unit.search.toy import search

WHOLE = {"clipNorm": 1.0, "noiseMultiplier": 1.0, "delta": 1e-5, "epsilon": 8.0}


def promising(**changes: Any) -> FederatedSearch:
    told = {name: value for name, value in (WHOLE | changes).items() if value is not None}
    return search(*(f"privacy.clientLevel.{name}={value}" for name, value in told.items()))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("clipNorm", 0, "must be greater than 0"),
        ("noiseMultiplier", -1, "must be greater than 0"),
        ("delta", 0.5, "must be at most 0.1"),
        ("epsilon", 0, "must be greater than 0"),
        ("epsilon", None, "must be given"),
    ],
)
def test_a_wrong_number_is_told_by_its_path(field: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=rf"spec\.privacy\.clientLevel\.{field}: .*{message}"):
        promising(**{field: value})


def test_only_one_promise_is_given() -> None:
    written = search().to_dict()
    written["spec"]["privacy"] = {"none": {}, "clientLevel": WHOLE}
    with pytest.raises(SpecError, match="must hold exactly one of none, clientLevel"):
        load_spec(written)


def test_a_delta_that_gives_a_whole_client_away_is_warned_of() -> None:
    assert promising().spec.warnings() == []
    (warning,) = promising(delta=0.09).spec.warnings()
    assert warning.startswith("spec.privacy.clientLevel.delta: 0.09 allows to give away a whole")
    assert "with 12 of them less than 0.0833333 would do" in warning


def test_a_promise_is_part_of_what_determines_the_result_and_none_is_not() -> None:
    assert "privacy" not in identity(search())
    assert identity(promising())["privacy"] == {"clientLevel": WHOLE}
