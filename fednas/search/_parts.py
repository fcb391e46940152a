"""What entries are made of: who took part, what was offered, what a choice rested on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from fednas.models import Architecture

__all__ = [
    "Change",
    "ClientInfo",
    "Compared",
    "Layer",
    "Offered",
    "Quantity",
    "Ranked",
    "Reason",
    "Totals",
    "Value",
]

Quantity = Literal["loss", "accuracy", "divergence"]
"""What candidates are ranked by, be it per resource or not."""


class Value(BaseModel):
    """A frozen JSON value, camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class ClientInfo(Value):
    """A client: its class, and rows of its shard."""

    device_class: str
    samples: int


class Layer(Value):
    """A group of layers that can be cut, and its filters in the starting network."""

    name: str
    width: int


class Change(Value):
    """Filters of a group before and after a cut."""

    before: int
    after: int


class Offered(Value):
    """A candidate: what it changes (by group), what it costs (by resource), and its network."""

    name: str
    changes: dict[str, Change]
    costs: dict[str, int]
    reached_target: bool
    architecture: Architecture


class Compared(Value):
    """The start thinned alike to a rung's cost, as it is cut; fields as of the rung's entry."""

    architecture: Architecture
    costs: dict[str, int]
    sums: dict[str, float]
    validation: dict[str, float]


class Ranked(Value):
    """A candidate where a choice was made, with the evidence.

    ``sums`` are those of its best evaluation so far, ``score`` what they say; ``ratio`` is given
    where the choice was made by it.
    """

    candidate: str
    score: float
    sums: dict[str, float]
    costs: dict[str, int]
    rank: int
    kept: bool
    failed: bool = False
    reached_target: bool | None = None
    ratio: float | None = None


class Reason(Value):
    """Why something failed: CamelCase, and in words."""

    reason: str
    message: str


class Totals(Value):
    """Sums over the updates of a round."""

    clients: int
    trained: int
    macs: int
    bytes_down: int
    bytes_up: int
