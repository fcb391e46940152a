"""The ladder: what each rung is tested on and compared with, and what it costs whom."""

from __future__ import annotations

from typing import Any

import pytest

from fednas.data import make_shards
from fednas.models import Architecture
from fednas.search import Added, View
from fednas.space import thin
from fednas.spec import FederatedSearch
from fednas.store import digest_of
from fednas.work import Task
from tests.memory_store import MemoryStore
from tests.unit.search.toy import DIGITS, run, search, space


def tasks_of(spec: FederatedSearch, **how: Any) -> tuple[View, list[Task]]:
    tasks: list[Task] = []
    return run(spec, MemoryStore(), before=tasks.append, **how), tasks


def added(view: View) -> list[Added]:
    return [entry for entry in view.entries.values() if isinstance(entry, Added)]


def test_each_rung_but_the_start_is_compared_with_the_start_thinned_alike_to_its_cost() -> None:
    view = run(search(), MemoryStore())
    first, *rest = added(view)
    assert first.baseline is None
    assert len(rest) > 2
    for entry, rung in zip(rest, view.ladder[1:], strict=True):
        assert entry.baseline is not None
        compared = entry.baseline.architecture
        assert compared.widths == thin(
            space(), (16, 16, 16, 16), lambda widths: space().macs(widths), rung.macs
        )
        assert len(set(compared.widths)) == 1
        assert entry.baseline.costs["macs"] == space().macs(compared.widths) <= rung.macs
        assert space().macs([width + 1 for width in compared.widths]) > rung.macs


def test_the_baseline_is_cut_from_the_start_and_no_client_works_for_it() -> None:
    view, tasks = tasks_of(search())
    mine = [task for task in tasks if "/baseline/" in task.id]
    assert {task.client for task in mine} == {"cloud"}
    assert sorted(task.id for task in mine) == [
        f"{rung:04}/baseline/{kind}"
        for rung in range(1, len(view.ladder))
        for kind in ("derive", "evaluate", "test")
    ]
    for task in mine:
        if task.kind == "derive":
            assert task.inputs["weights"] == view.ladder[0].sha256
            parent = Architecture.model_validate(task.params["parent"])
            assert parent == view.ladder[0].architecture
    without, _ = tasks_of(search("baseline=none"))
    assert view.ledger.to_dict() == without.ledger.to_dict()


def test_without_a_baseline_nothing_is_computed_for_it_and_all_else_is_the_same() -> None:
    view, tasks = tasks_of(search("baseline=none"))
    assert not [task for task in tasks if "/baseline/" in task.id]
    assert {entry.baseline for entry in added(view)} == {None}
    assert {rung.advantage for rung in view.ladder} == {None}
    assert [rung.sha256 for rung in view.ladder] == [
        rung.sha256 for rung in run(search(), MemoryStore()).ladder
    ]


def test_rung_and_baseline_are_tested_on_the_same_rows_and_not_on_those_that_chose() -> None:
    view, tasks = tasks_of(search())
    shards = make_shards(search(), DIGITS, digest_of)
    assert shards.test is not None
    tests = {task.id: task.data for task in tasks if task.id.endswith("/test")}
    assert len(tests) == 2 * len(view.ladder) - 1
    assert all(data == {"shard": shards.test.shard} for data in tests.values())
    differs = 0
    for entry, rung in zip(added(view), view.ladder, strict=True):
        assert rung.accuracy == entry.sums["correct"] / 100
        assert rung.validation_accuracy == entry.validation["correct"] / 100
        assert rung.validation_loss == entry.validation["loss"] / 100
        differs += entry.sums != entry.validation
        if entry.baseline is not None:
            assert rung.baseline_accuracy == entry.baseline.sums["correct"] / 100
            assert rung.advantage == rung.accuracy - rung.baseline_accuracy
    assert differs


def test_where_there_are_no_test_rows_the_validation_rows_tell_of_both() -> None:
    shards = make_shards(search(), DIGITS, digest_of).model_copy(update={"test": None})
    view, tasks = tasks_of(search(), shards=shards)
    assert not [task for task in tasks if task.id.endswith("/test")]
    for entry in added(view):
        assert entry.sums == entry.validation
        if entry.baseline is not None:
            assert entry.baseline.sums == entry.baseline.validation


@pytest.mark.parametrize("refit", [True, False])
def test_candidates_and_baselines_are_refitted_alike_or_not_at_all(refit: bool) -> None:
    _, tasks = tasks_of(search(f"refit={str(refit).lower()}"))
    calibration = make_shards(search(), DIGITS, digest_of).calibration.shard
    cuts = [task for task in tasks if task.kind == "derive"]
    assert {"baseline" in task.id for task in cuts} == {True, False}
    for task in cuts:
        assert task.data == ({"calibration": calibration} if refit else {})
