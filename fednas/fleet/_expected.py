"""What a client's update has to look like, known before it is leased.

An output has as many numbers as the input that it is like, and a result weighs as much as its shard
has rows. Both stand in the first bytes of those blobs, so no weights are read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fednas.errors import Corrupt
from fednas.work import KINDS, Task

__all__ = ["Expectations", "Expected", "Form"]

_HEAD = 512
"""Bytes: both headers are shorter (a safetensors header of one tensor has about 80)."""


@dataclass(frozen=True)
class Form:
    """Of one output: ``elements`` float32 numbers in ``size`` bytes."""

    elements: int
    size: int


@dataclass(frozen=True)
class Expected:
    """Of a result: the form of each output, and its weight in a mean (None: any)."""

    outputs: Mapping[str, Form]
    weight: int | None

    @property
    def size(self) -> int:
        """Bytes of all outputs."""
        return sum(form.size for form in self.outputs.values())


class Expectations:
    """Looks at the heads of blobs, once each.

    Parameters
    ----------
    head : callable
        Key, number of bytes -> the first bytes of that object.
    blobs, data : str
        Where weight blobs and shards lie: key prefixes.
    """

    def __init__(self, head: Callable[[str, int], bytes], *, blobs: str, data: str) -> None:
        self._vector = lru_cache(maxsize=1024)(lambda digest: _vector(head(blobs + digest, _HEAD)))
        self._rows = lru_cache(maxsize=65536)(lambda digest: _rows(head(data + digest, _HEAD)))

    def of(self, task: Task) -> Expected:
        """What the result of a client's task must be.

        Raises
        ------
        StoreError
            If its inputs or its shard cannot be read.
        """
        outputs = {
            output.name: Form(*self._vector(task.inputs[output.like]))
            for output in KINDS[task.kind].outputs
        }
        weight = self._rows(task.data["shard"]) if "shard" in task.data else None
        return Expected(outputs, weight)


def _vector(head: bytes) -> tuple[int, int]:
    """Elements and bytes of a weight blob: safetensors with one float32 vector."""
    try:
        length = int.from_bytes(head[:8], "little")
        tensor = json.loads(head[8 : 8 + length])["weights"]
        (elements,) = tensor["shape"]
        return int(elements), 8 + length + int(tensor["data_offsets"][1])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Corrupt("weights: are no safetensors file of one vector") from error


def _rows(head: bytes) -> int:
    """Rows of a shard: a .npy file."""
    try:
        file = io.BytesIO(head)
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        return int(shape[0])
    except (ValueError, IndexError) as error:
        raise Corrupt("shard: is no .npy file") from error
