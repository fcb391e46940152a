"""What a search begins with, and what it refuses before anything is recorded."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednas.data import make_shards
from fednas.errors import BadInput, DataError, OtherNumerics, SearchFailed
from fednas.models import Architecture, encode, start_architecture
from fednas.objective import OBJECTIVES
from fednas.search import StartFile
from fednas.spec import FederatedSearch
from fednas.store import digest_of
from tests.memory_store import MemoryStore
from tests.unit.search.toy import DIGITS, KillAt, Killed, journal, network, run, search, space


def test_a_changed_spec_is_refused_with_every_change_and_nothing_is_touched() -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    before = dict(store.objects)
    changed = search("training.epochs=2", "seed=5")
    with pytest.raises(BadInput, match="started with another spec") as error:
        run(changed, store)
    assert "spec.training.epochs: 1 -> 2" in str(error.value)
    assert "spec.seed: 0 -> 5" in str(error.value)
    assert store.objects == before
    run(search(), store)
    before = dict(store.objects)
    with pytest.raises(BadInput, match=r"spec\.seed: 0 -> 5"):
        run(changed, store)
    assert store.objects == before


def test_other_numerics_wait_for_consent_which_is_remembered() -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(search(), store, before=KillAt(30))
    before = dict(store.objects)
    with pytest.raises(OtherNumerics, match=r"began with numpy toy 1 .*, here is numpy toy 2"):
        run(search(), store, numerics="toy 2")
    assert journal(store).items() <= before.items()
    with pytest.raises(Killed):
        run(search(), store, numerics="toy 2", accept_new_numerics=True, before=KillAt(9))
    assert run(search(), store, numerics="toy 2").end is not None


def test_consent_is_not_recorded_where_the_search_cannot_go_on() -> None:
    store, ones = MemoryStore(), encode(np.ones(3 * 64, np.float32))
    with pytest.raises(Killed):
        run(weighted(), store, weights=lambda: ones, before=KillAt(20))
    before = journal(store)
    other = make_shards(weighted(), DIGITS, digest_of).model_copy(update={"digest": "other"})
    again = {"numerics": "toy 2", "accept_new_numerics": True}
    with pytest.raises(DataError, match="not the data"):
        run(weighted(), store, weights=lambda: ones, shards=other, **again)
    with pytest.raises(DataError, match="not the weights"):
        run(weighted(), store, weights=lambda: encode(np.zeros(3 * 64, np.float32)), **again)
    assert journal(store) == before
    with pytest.raises(OtherNumerics):
        run(weighted(), store, weights=lambda: ones, numerics="toy 2")


@pytest.mark.parametrize(
    ("classes", "majority", "bar"), [(10, 0.1, 0.2), (2, 0.5, 5 / 9), (10, 0.9, 0.9 + 0.1 / 9)]
)
def test_the_bar_of_a_start_is_a_ninth_of_the_way_up_from_what_a_constant_scores(
    classes: int, majority: float, bar: float
) -> None:
    objective = OBJECTIVES["classification"]
    assert objective.bar(objective.floor(classes, majority)) == pytest.approx(bar)


def test_a_start_no_better_than_chance_is_refused_and_says_what_to_do() -> None:
    store = MemoryStore()
    for _ in range(2):
        with pytest.raises(SearchFailed, match=r"model\.initial\.training\.rounds") as error:
            run(search(), store, worst=-10)
        assert error.value.reason == "StartingNetworkUntrained"
    assert json.loads(store.get("journal/end.json"))["failed"] is True


def two_classes(majority: float) -> Any:
    shards = make_shards(search(), DIGITS, digest_of)
    return shards.model_copy(update={"classes": 2, "majority": majority})


def test_a_good_start_on_two_classes_is_no_untrained_one() -> None:
    assert run(search(), MemoryStore(), shards=two_classes(0.5), worst=70).end is not None


def test_a_start_that_only_knows_the_majority_is_refused() -> None:
    with pytest.raises(SearchFailed, match=r"scores 0\.\d+; one that learnt nothing scores 0\.950"):
        run(search(), MemoryStore(), shards=two_classes(0.95), worst=65)


@pytest.mark.parametrize("path", ["training", "model.initial.training", "finalTraining"])
def test_batches_that_batch_norm_cannot_train_on_are_refused_before_anything_is_recorded(
    path: str,
) -> None:
    store = MemoryStore()
    with pytest.raises(BadInput, match=rf"spec\.{path}\.batchSize: got 1; must be at least 2"):
        run(search(f"{path}.batchSize=1"), store, min_batch=2)
    assert journal(store) == {}
    assert run(search("training.batchSize=1"), store).end is not None


# --- start weights -------------------------------------------------------------------------------


def weighted() -> FederatedSearch:
    return search("model.initial.weights=start.safetensors")


@pytest.mark.parametrize(
    ("blob", "wrong"),
    [
        (b"these are not weights\n", "safetensors"),
        (b"", "safetensors"),
        (encode(np.zeros(3 * 64 - 1, np.float32)), "192"),
        (encode(np.full(3 * 64, np.nan, np.float32)), "NaN or infinity"),
    ],
)
def test_wrong_start_weights_are_refused_before_anything_is_recorded(
    blob: bytes, wrong: str
) -> None:
    store = MemoryStore()
    with pytest.raises(DataError, match=r"spec\.model\.initial\.weights: start\.safet") as error:
        run(weighted(), store, weights=lambda: blob)
    assert wrong in str(error.value)
    assert journal(store) == {}
    right = encode(np.ones(3 * 64, np.float32))
    assert run(weighted(), store, weights=lambda: right).end is not None


def test_other_data_and_other_start_weights_are_refused_wherever_they_lie() -> None:
    store, ones = MemoryStore(), encode(np.ones(3 * 64, np.float32))
    with pytest.raises(Killed):
        run(weighted(), store, weights=lambda: ones, before=KillAt(20))
    twos = encode(np.full(3 * 64, 2, np.float32))
    with pytest.raises(DataError, match="these are not the weights that this search began with"):
        run(weighted(), store, weights=lambda: twos)
    other = make_shards(weighted(), DIGITS, digest_of).model_copy(update={"digest": "other"})
    with pytest.raises(DataError, match="these are not the data that this search began with"):
        run(weighted(), store, weights=lambda: ones, shards=other)
    moved = search("model.initial.weights=elsewhere/copy.safetensors", "data.source=moved")
    same = make_shards(weighted(), DIGITS, digest_of)
    assert run(moved, store, weights=lambda: ones, shards=same).end is not None


def test_start_weights_are_not_read_again_once_they_are_evaluated() -> None:
    store = MemoryStore()
    right = encode(np.ones(3 * 64, np.float32))
    with pytest.raises(Killed):
        run(weighted(), store, weights=lambda: right, before=KillAt(20))

    def gone() -> bytes:
        raise DataError("the file is gone")

    assert run(weighted(), store, weights=gone).end is not None


# --- a start from a rung of another search -------------------------------------------------------

RUNG = network(8, 16, 12, 16)


def rung(number: int = 2, architecture: Architecture = RUNG) -> StartFile:
    weights = np.full(3 * sum(architecture.widths), number, np.float32)
    return StartFile(f"runs/a/ladder/rung-{number:02}.safetensors", encode(weights), architecture)


def test_a_search_starts_from_a_rung_and_shares_count_from_it() -> None:
    view = run(weighted(), MemoryStore(), weights=rung)
    assert view.start is not None
    assert view.start.architecture == view.ladder[0].architecture == RUNG
    assert view.full == space(RUNG).macs(RUNG.widths) < space().macs(network().widths)
    assert view.ladder[0].share == 1
    assert view.ladder[-1].share < 0.7
    for one in view.ladder[1:]:
        assert all(now <= at for now, at in zip(one.architecture.widths, RUNG.widths, strict=True))


@settings(max_examples=12)
@given(st.integers(0, 120))
def test_a_search_from_a_rung_that_is_killed_goes_on_to_the_same_bits(moment: int) -> None:
    whole, store = MemoryStore(), MemoryStore()
    run(weighted(), whole, weights=rung)
    with suppress(Killed):
        run(weighted(), store, weights=rung, before=KillAt(moment))
    run(weighted(), store, weights=rung)
    assert journal(store) == journal(whole)


def gone() -> StartFile:
    raise DataError("the folder of the other search is gone")


def test_the_rung_is_needed_no_more_once_it_is_evaluated_and_no_other_takes_its_place() -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        run(weighted(), store, weights=rung, before=KillAt(20))
    before = journal(store)
    for other in (rung(3, network(8, 16, 8, 16)), rung(1, RUNG), rung(0, network())):
        with pytest.raises(DataError, match="these are not the weights that this search began"):
            run(weighted(), store, weights=lambda other=other: other)
    assert journal(store) == before
    assert run(weighted(), store, weights=gone).ladder[0].architecture == RUNG


def test_a_rung_of_another_network_is_refused_before_anything_is_recorded() -> None:
    store = MemoryStore()
    two = start_architecture("cnn", channels=1, size=8, classes=2).with_widths(RUNG.widths)
    with pytest.raises(
        DataError, match=r"initial\.weights: runs/a/ladder/rung-02\.safe.*2 classes"
    ):
        run(weighted(), store, weights=lambda: rung(architecture=two))
    assert journal(store) == {}
