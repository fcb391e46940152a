from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from fednas.errors import Corrupt
from fednas.federation import COUNTS, Updates
from fednas.models import encode

counts = st.integers(0, 2**50)


@st.composite
def tables(draw: st.DrawFn) -> Updates:
    clients = sorted(draw(st.sets(st.integers(0, 9999), min_size=1, max_size=20)))
    n = len(clients)
    digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
    names = draw(st.sets(st.sampled_from(["weights", "alphas"]), min_size=1))
    return Updates(
        clients=np.array(clients, np.int32),
        digests={k: draw(st.lists(digests, min_size=n, max_size=n)) for k in names},
        counts={
            k: np.array(draw(st.lists(counts, min_size=n, max_size=n)), np.int64) for k in COUNTS
        },
        metrics={"loss": np.array(draw(st.lists(st.floats(0, 9), min_size=n, max_size=n)))},
    )


@given(tables())
def test_a_table_is_read_back_as_it_was_and_equal_tables_are_equal_bytes(table: Updates) -> None:
    blob = table.encode()
    read = Updates.decode(blob)
    assert read.encode() == blob
    assert read.clients.tolist() == table.clients.tolist()
    assert read.digests == {name: list(column) for name, column in table.digests.items()}
    for name in COUNTS:
        assert read.counts[name].tolist() == table.counts[name].tolist()
    assert read.metrics["loss"].tolist() == table.metrics["loss"].tolist()


def test_an_update_takes_some_seventy_bytes() -> None:
    n = 1000
    table = Updates(
        clients=np.arange(n, dtype=np.int32),
        digests={"weights": ["ab" * 32] * n},
        counts={name: np.ones(n, np.int64) for name in COUNTS},
        metrics={"loss": np.ones(n)},
    )
    assert len(table.encode()) / n < 90


@pytest.mark.parametrize("blob", [b"", b"garbage" * 9, encode(np.zeros(3, np.float32))])
def test_what_is_no_table_is_corrupt(blob: bytes) -> None:
    with pytest.raises(Corrupt, match="no table of updates"):
        Updates.decode(blob)


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": np.ones(2, np.int64)},
        {"sha256.weights": np.zeros((4, 32), np.uint8)},
        {"metric.loss": np.array(0.5)},
        {"client": np.array(1, np.int32)},
    ],
)
def test_columns_that_differ_in_length_are_corrupt(changes: dict[str, Any]) -> None:
    columns = {"client": np.arange(3, dtype=np.int32), "metric.loss": np.ones(3)}
    columns |= {name: np.ones(3, np.int64) for name in COUNTS}
    assert len(Updates.decode(save(columns))) == 3
    with pytest.raises(Corrupt, match="differ in length"):
        Updates.decode(save(columns | changes))


@given(tables(), st.data())
def test_a_damaged_table_is_corrupt_or_a_table_but_nothing_else(
    table: Updates, data: st.DataObject
) -> None:
    blob = table.encode()
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(Corrupt):
        Updates.decode(blob[:cut])
    damaged = bytearray(blob)
    damaged[cut] ^= data.draw(st.integers(1, 255))
    try:
        read = Updates.decode(bytes(damaged))
    except Corrupt:
        return
    assert len(read) == len(table)


def test_a_metric_is_weighted_by_the_samples_that_each_client_processed() -> None:
    counts = {name: np.array([1, 1], np.int64) for name in COUNTS}
    table = Updates(
        clients=np.array([3, 7], np.int32),
        digests={},
        counts=counts | {"trained": np.array([30, 10], np.int64)},
        metrics={"loss": np.array([1.0, 5.0])},
    )
    assert table.mean("loss") == 2.0
    assert (table.total("trained"), len(table)) == (40, 2)
