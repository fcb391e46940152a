"""Networks nested in one another: arranged, merged and taken out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fednas.models import decode, encode
from fednas.space import derive
from fednas.work import ARRANGE, MERGE, Arrange, Merge, Params
from tests.unit.search.toy import network, space

SPACE = space(network())
WIDE, HALF, NARROW = network(), network(8, 16, 4, 16), network(4, 4, 4, 4)


class Blobs:
    """Weight blobs by name."""

    def __init__(self, **vectors: np.ndarray) -> None:
        self.blobs = {name: encode(vector) for name, vector in vectors.items()}
        self.blobs["space"] = SPACE.to_json()

    def blob(self, digest: str) -> bytes:
        return self.blobs[digest]

    def rows(self, digest: str) -> Any:
        raise AssertionError(digest)

    def upload(self, key: str) -> bytes:
        raise AssertionError(key)


def done(kind: Any, params: Params, **vectors: np.ndarray) -> dict[str, np.ndarray]:
    source = Blobs(**vectors)
    task = kind.task("x", params, inputs={name: name for name in source.blobs})
    return {name: decode(blob) for name, blob in kind.execute(task, source).outputs.items()}


def filters(vector: np.ndarray, widths: tuple[int, ...]) -> list[np.ndarray]:
    """The toy's layers: [width, 3] each."""
    ends = np.cumsum([3 * width for width in widths])
    return [part.reshape(-1, 3) for part in np.split(vector, ends[:-1])]


def drawn(seed: int, architecture: Any = WIDE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=3 * sum(architecture.widths)).astype(np.float32)


def test_an_arranged_network_has_its_strong_filters_first_and_all_of_them() -> None:
    before = drawn(0)
    after = done(ARRANGE, Arrange(architecture=WIDE), weights=before)["weights"]
    for old, new in zip(filters(before, WIDE.widths), filters(after, WIDE.widths), strict=True):
        norms = np.linalg.norm(new, axis=1)
        assert (np.diff(norms) <= 0).all()
        assert {tuple(row) for row in old} == {tuple(row) for row in new}


def test_the_first_filters_of_an_arranged_network_are_those_that_a_cut_keeps() -> None:
    arranged = done(ARRANGE, Arrange(architecture=WIDE), weights=drawn(0))["weights"]
    merge = Merge(whole=WIDE, nested={"a": HALF, "b": NARROW}, weights={})
    taken = done(MERGE, merge, weights=arranged)
    np.testing.assert_array_equal(taken["weights"], arranged)
    for name, child in merge.nested.items():
        np.testing.assert_array_equal(taken[name], derive(SPACE, WIDE, arranged, child))


def test_a_number_is_the_mean_of_those_who_trained_it_or_stays() -> None:
    whole, half, narrow = drawn(1), drawn(2, HALF), drawn(3, NARROW)
    merge = Merge(whole=WIDE, nested={"a": HALF, "b": NARROW}, weights={"a": 30, "b": 10})
    found = done(MERGE, merge, weights=whole, a=half, b=narrow)
    parts = [filters(v, n.widths) for v, n in ((half, HALF), (narrow, NARROW))]
    for layer, (old, new) in enumerate(
        zip(filters(whole, WIDE.widths), filters(found["weights"], WIDE.widths), strict=True)
    ):
        for index in range(len(old)):
            told = [(30, parts[0][layer]), (10, parts[1][layer])]
            some = [(share, rows[index]) for share, rows in told if index < len(rows)]
            wanted = old[index]
            if some:
                wanted = sum(share * row for share, row in some) / sum(share for share, _ in some)
            np.testing.assert_allclose(new[index], wanted, rtol=1e-5, atol=1e-6)
    again = done(
        MERGE, Merge(whole=WIDE, nested=merge.nested, weights={}), weights=found["weights"]
    )
    np.testing.assert_array_equal(found["a"], again["a"])
    np.testing.assert_array_equal(found["b"], again["b"])


@pytest.mark.parametrize("share", [1, 7])
def test_where_one_part_is_the_whole_it_is_that_part(share: int) -> None:
    trained = drawn(2)
    merge = Merge(whole=WIDE, nested={"a": WIDE}, weights={"a": share})
    found = done(MERGE, merge, weights=drawn(1), a=trained)
    np.testing.assert_allclose(found["weights"], trained, rtol=1e-6)
