from __future__ import annotations

from pathlib import Path

import pytest

from fednas.cli._coordinator import Coordinator
from fednas.errors import Diverged
from fednas.spec import FederatedSearch

EXAMPLE = Path(__file__).parents[3] / "examples/small.yaml"


class Racing(Coordinator):
    """Another coordinator of the search is faster with these records."""

    records: list[str]

    def _run(self, search: FederatedSearch) -> None:
        if not self.records:
            self._end = (False, "Completed", "")
            return
        record = self.records.pop(0)
        raise Diverged(f"s3://bucket/journal/{record} says b'1', this run would write b'2'; ...")


@pytest.mark.parametrize(
    ("records", "failed"), [(["01-closed", "02-closed"], False), (["01-closed", "01-closed"], True)]
)
def test_the_slower_of_two_coordinators_steps_back_and_only_a_contradiction_ends(
    records: list[str], failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("fednas.cli._coordinator.time.sleep", pauses.append)
    racing = Racing(EXAMPLE, "search", listen="127.0.0.1:0", tokens=None, workers=1)
    racing.records = records
    try:
        racing.work()
        status = racing.status()
    finally:
        racing.close()
    assert status["over"]
    assert status["failed"] is failed
    assert status["reason"] == ("Diverged" if failed else "Completed")
    assert len(pauses) == (1 if failed else 2)
    assert pauses == sorted(pauses)
