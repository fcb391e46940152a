"""Start weights: which network a file of them belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fednas.errors import DataError, NotFound
from fednas.models import Architecture, encode, start_architecture
from fednas.search import read_start, rung_file, rung_number
from fednas.spec import Normalize
from tests.unit.search.toy import network

RUNG = network(8, 16, 12, 16)
BLOB = encode(np.ones(3 * sum(RUNG.widths), np.float32))


def beside(*rungs: Architecture) -> Callable[[str], bytes]:
    """Reads the ladder of these rungs, and nothing else."""
    rows = [{"rung": i, "architecture": rung.model_dump()} for i, rung in enumerate(rungs)]

    def read(path: str) -> bytes:
        assert path == "runs/a/ladder/ladder.json"
        return json.dumps(rows).encode()

    return read


def nothing(path: str) -> bytes:
    raise NotFound(path)


@pytest.mark.parametrize("number", [0, 7, 99, 100])
@pytest.mark.parametrize("folder", ["", "ladder/", "s3://bucket/ladder/id/", "/a b/rung-3/"])
def test_a_rung_is_told_by_its_name_alone(number: int, folder: str) -> None:
    assert rung_number(folder + rung_file(number)) == number
    assert rung_number(folder + rung_file(number, trained=True)) == number
    assert rung_number(folder + "start.safetensors") is None
    assert rung_number(f"{folder}rung-{number:02}.safetensors/copy.safetensors") is None


@pytest.mark.parametrize("name", ["rung-01.safetensors", "rung-01-final.safetensors"])
def test_a_rung_has_the_network_that_the_ladder_beside_it_names(name: str) -> None:
    file = read_start(f"runs/a/ladder/{name}", BLOB, beside(network(), RUNG))
    assert file.network(network()) == RUNG
    assert file.vector({"w": (sum(RUNG.widths), 3)}).sum() == 3 * sum(RUNG.widths)


def test_in_a_bucket_and_in_the_current_folder_the_ladder_lies_beside_it_too() -> None:
    asked: list[str] = []

    def read(path: str) -> bytes:
        asked.append(path)
        raise FileNotFoundError(path)

    for path in ("s3://bucket/ladder/id/rung-01.safetensors", "rung-01.safetensors"):
        assert read_start(path, BLOB, read).network(network()) == network()
    assert asked == ["s3://bucket/ladder/id/ladder.json", "ladder.json"]


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("start.safetensors", nothing),
        ("runs/a/ladder/rung-01.safetensors", nothing),
        ("runs/a/ladder/rung-02.safetensors", beside(network(), RUNG)),
        ("runs/a/ladder/rung-00.safetensors", beside(network(), RUNG)),
    ],
    ids=["another name", "no ladder", "not listed", "as the spec's"],
)
def test_any_other_file_fills_the_network_of_the_spec(
    path: str, read: Callable[[str], bytes]
) -> None:
    assert read_start(path, BLOB, read).network(network()) == network()


def test_a_narrow_rung_without_its_ladder_says_what_it_lacks() -> None:
    file = read_start("rung-01.safetensors", BLOB, nothing)
    with pytest.raises(DataError, match=r"holds 156 weights; .* needs 192: .*its ladder\.json"):
        file.vector({"w": (64, 3)})


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff", b"1", b'{"columns":[],"data":[]}', b"[1]", b'[{"rung":1}]']
)
def test_garbage_in_the_place_of_a_ladder_is_named(garbage: bytes) -> None:
    with pytest.raises(DataError, match=r"rung-01\.safetensors: a/ladder\.json is no ladder"):
        read_start("a/rung-01.safetensors", BLOB, lambda _: garbage)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "nets:build", "widths": (8, 16, 12, 16)}, "of nets:build with 4 groups"),
        ({"size": 16}, "images; must be of cnn with 4 groups for 10 classes of 1x8x8"),
        ({"channels": 3}, "of 3x8x8 images"),
        ({"classes": 2}, "for 2 classes"),
    ],
)
def test_a_rung_of_another_network_is_refused_with_both_in_words(
    changed: dict[str, Any], words: str
) -> None:
    made = {"name": "cnn", "channels": 1, "size": 8, "classes": 10} | changed
    rung = start_architecture(**made).with_widths(RUNG.widths)
    file = read_start("runs/a/ladder/rung-00.safetensors", BLOB, beside(rung))
    with pytest.raises(DataError, match=r"spec\.model\.initial\.weights: runs/a/lad") as error:
        file.network(network())
    assert words in str(error.value)


def test_a_rung_of_ones_own_network_must_have_as_many_groups() -> None:
    own = {"name": "nets:build", "channels": 1, "size": 8, "classes": 10}
    rung = start_architecture(**own, widths=(4, 4))
    file = read_start("runs/a/ladder/rung-00.safetensors", BLOB, beside(rung))
    assert file.network(start_architecture(**own, widths=(8, 8))) == rung
    with pytest.raises(DataError, match=r"with 2 groups .*; must be of nets:build with 3 groups"):
        file.network(start_architecture(**own, widths=(8, 8, 8)))


def test_how_pixels_are_normalised_is_what_the_spec_says() -> None:
    spec = start_architecture(
        "cnn", channels=1, size=8, classes=10, normalize=Normalize(mean=(0.1,), std=(0.2,))
    )
    found = read_start("runs/a/ladder/rung-00.safetensors", BLOB, beside(RUNG)).network(spec)
    assert (found.widths, found.normalize) == (RUNG.widths, spec.normalize)
