from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import Corrupt
from fednas.federation import COUNTS, RoundId, Updates
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
        assert read.total(name) == int(table.counts[name].sum())


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


@given(
    st.integers(0, 9999),
    st.sampled_from(["initial", "pre", "post"]),
    st.sampled_from(["", "conv1", "block5.pointwise"]),
    st.integers(0, 2000),
)
def test_a_rounds_key_is_read_back(iteration: int, phase: str, subject: str, number: int) -> None:
    id = RoundId(iteration, phase, subject, number)
    assert RoundId.parse(id.key) == id
    assert id.of("other").subject == "other"


@pytest.mark.parametrize("key", ["", "1", "a/b/c", "1/2/3/4/5", "x/pre/conv/01"])
def test_what_names_no_round_is_corrupt(key: str) -> None:
    with pytest.raises(Corrupt, match="names no round"):
        RoundId.parse(key)
