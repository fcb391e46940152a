"""A journal that `fednas run examples/small.yaml` wrote, as one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednas.search import View
from fednas.store import Record

RECORDED = Path(__file__).parent / "journal.json"


def recorded() -> dict[str, Record]:
    """Its records by key."""
    read = json.loads(RECORDED.read_text())
    return {key: Record(key, entry["value"], entry["time"]) for key, entry in read.items()}


@pytest.fixture
def records() -> dict[str, Record]:
    return recorded()


@pytest.fixture
def view(records: dict[str, Record]) -> View:
    return View(records.values())
