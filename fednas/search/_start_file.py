"""A file of start weights, and the network that they fill: the spec's, or that of a rung.

A rung's file holds one vector and no names: its bytes are the blob whose sha256 the journal tells.
Its network stands in the ``ladder.json`` beside it, in a run folder as in a bucket. So a search can
start from any rung of another, narrower than the network that its spec names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fednas.errors import DataError, NotFound
from fednas.models import Architecture, state_vector

__all__ = ["StartFile", "read_start", "rung_number"]

_FIELD = "spec.model.initial.weights"
_RUNG = re.compile(r"(?:.*/)?rung-([0-9]{2,4})(?:-final)?\.safetensors")
"""What `rung_file` spells; of a rung as searched or trained on, the network is the same."""


@dataclass(frozen=True)
class StartFile:
    """What ``model.initial.weights`` names.

    Parameters
    ----------
    path : str
        As the spec has it.
    blob : bytes
        One vector, or a state dict (`state_vector`).
    rung : Architecture or None
        The network that the ladder beside it has for it.
    """

    path: str
    blob: bytes
    rung: Architecture | None = None

    def network(self, spec: Architecture) -> Architecture:
        """The network to start from: the spec's, at the rung's widths if it is one.

        ``widthMultiplier`` and the normalisation of pixels stay the spec's.

        Raises
        ------
        DataError
            The rung is of another family, of other images or classes.
        """
        rung = self.rung
        if rung is None or rung.widths == spec.widths:
            return spec
        if _kind(rung) != _kind(spec):
            raise DataError(
                f"{_FIELD}: {self.path}: is a rung of {_words(rung)}; must be of {_words(spec)}, "
                "as spec.model and the data say"
            )
        return spec.with_widths(rung.widths)

    def vector(self, shapes: Mapping[str, tuple[int, ...]]) -> npt.NDArray[np.float32]:
        """The weights, float32 of shape [n], of a network of these tensors.

        Raises
        ------
        DataError
            They are of another network, or none.
        """
        try:
            return state_vector(self.blob, shapes)
        except DataError as error:
            raise DataError(f"{_FIELD}: {self.path}: {error}") from None


def read_start(path: str, blob: bytes, read: Callable[[str], bytes]) -> StartFile:
    """A file of start weights, with its network where a ladder lies beside it.

    Parameters
    ----------
    path : str
        A local path, or ``s3://bucket/key``.
    blob : bytes
        What lies there.
    read : callable
        Another such path -> what lies there; `NotFound` or `OSError` where nothing does.

    Raises
    ------
    DataError
        What lies beside it is no ladder.
    """
    number = rung_number(path)
    if number is None:
        return StartFile(path, blob)
    beside = path.rpartition("/")[0]
    ladder = f"{beside}/ladder.json" if "/" in path else "ladder.json"
    try:
        text = read(ladder)
    except (NotFound, OSError):
        return StartFile(path, blob)
    try:
        rows = {int(row["rung"]): row["architecture"] for row in json.loads(text)}
        rung = Architecture.model_validate(rows[number]) if number in rows else None
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{_FIELD}: {path}: {ladder} is no ladder; must be as the search wrote it"
        ) from None
    return StartFile(path, blob, rung)


def rung_number(path: str) -> int | None:
    """Which rung a file is by its name; None if by that it is none."""
    found = _RUNG.fullmatch(path)
    return int(found[1]) if found else None


def _kind(network: Architecture) -> tuple[object, ...]:
    """What a rung must have in common with the spec's network."""
    return network.family, network.input_shape, network.classes, len(network.widths)


def _words(network: Architecture) -> str:
    size = "x".join(map(str, network.input_shape))
    return (
        f"{network.family} with {len(network.widths)} groups for {network.classes} classes "
        f"of {size} images"
    )
