from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fednas.cli._coordinator import Coordinator, _config
from fednas.errors import Diverged, OtherNumerics
from fednas.spec import FederatedSearch, load_spec

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


class Moved(Coordinator):
    """On another processor than the search began with."""

    def _run(self, search: FederatedSearch) -> None:
        if not self._consent.is_set():
            raise OtherNumerics("this processor trains to other bits")
        self._end = (False, "Completed", "")


def test_a_coordinator_moved_to_another_processor_waits_for_consent_and_ends_nothing() -> None:
    moved = Moved(EXAMPLE, "search", listen="127.0.0.1:0", tokens=None, workers=1)
    work = threading.Thread(target=moved.work, daemon=True)
    try:
        work.start()
        deadline = time.monotonic() + 10
        while not (moved.status()["degraded"] or moved.status()["over"]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not moved.status()["over"]
        assert moved.status()["degraded"]["reason"] == "OtherNumerics"
        moved.accept_numerics()
        work.join(10)
        assert (moved.status()["over"], moved.status()["failed"]) == (True, False)
    finally:
        moved.close()


def test_the_store_is_asked_in_its_region_with_the_keys_and_the_token_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "key"}
    for name, value in {**keys, "AWS_SESSION_TOKEN": "passing", "AWS_REGION": "other"}.items():
        monkeypatch.setenv(name, value)
    where = "endpoint: 'http://s3:9000', bucket: fednas, secretName: unused"
    search = load_spec(EXAMPLE, [f"storage={{{where}, region: eu-central-1}}"])
    signed = _config(search).open().presigned_get("key")
    assert "%2Feu-central-1%2Fs3%2F" in signed
    assert "X-Amz-Security-Token=passing" in signed
