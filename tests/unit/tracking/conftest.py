"""A journal that `fednas run examples/small.yaml` wrote, as one file, and its tables of updates."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from fednas.search import Led, Recorded, View, Won, parse
from fednas.spec import API_VERSION, KIND, FederatedSearch, load_spec
from fednas.store import Layout, canonical_json

HERE = Path(__file__).parent
VERSION = 2
"""Of the records, as `fednas.store.Journal` writes it."""
# 101 images whose differences have a mean of 0.5, and deviate from it by 5 and by 0.5.
LEADS = [
    {"difference": 50.5, "squares": 100 * error**2 * 101 + 25.25, "won": 4, "lost": 3}
    | {"samples": 101}
    for error in (0.5, 0.05)
]


@cache
def _recorded() -> tuple[Recorded, ...]:
    read = json.loads((HERE / "journal.json").read_text())
    found = [Recorded(parse(key, one["value"]), one["time"]) for key, one in read.items()]
    phases = tuple(read["start"]["value"]["phases"])
    return tuple(sorted(found, key=lambda one: (one.entry.order(phases), one.time, one.entry.key)))


def recorded() -> list[Recorded]:
    """Its entries, in the order of the story."""
    return list(_recorded())


def compared() -> list[Recorded]:
    """The same with leads; the journal was written before winners were compared.

    The first lead is of ten standard errors, the others of one.
    """
    found = []
    for one in recorded():
        if isinstance(one.entry, Won):
            first, second = one.entry.ranking[:2]
            led = Led(
                iteration=one.entry.iteration,
                winner=first.candidate,
                runner_up=second.candidate,
                by="loss",
                sums=LEADS[one.entry.iteration == 1],
            )
            found.append(Recorded(led, one.time))
        found.append(one)
    return found


def recorded_search() -> FederatedSearch:
    """The search that it is of."""
    start = View(recorded()).start
    assert start is not None
    return load_spec(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": start.name},
            "spec": start.spec,
        }
    )


@cache
def updates() -> dict[str, bytes]:
    """Its tables of updates by their sha256."""
    read = json.loads((HERE / "updates.json").read_text())
    return {digest: base64.b64decode(blob) for digest, blob in read.items()}


def write_journal(folder: Path, entries: Iterable[Recorded] | None = None) -> None:
    """The journal and its tables, as they lay in the run folder, times included."""
    for one in recorded() if entries is None else entries:
        file = folder / Layout().journal / f"{one.entry.key}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(canonical_json({"version": VERSION, **one.entry.value()}))
        os.utime(file, (one.time, one.time))
    write_updates(folder)


def write_updates(folder: Path) -> None:
    """The tables alone."""
    (folder / Layout().updates).mkdir(parents=True, exist_ok=True)
    for digest, blob in updates().items():
        (folder / Layout().updates / digest).write_bytes(blob)


@pytest.fixture
def entries() -> list[Recorded]:
    return recorded()


@pytest.fixture
def view(entries: list[Recorded]) -> View:
    return View(entries)
