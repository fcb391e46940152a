"""How much of a resource a network may take: the search's target, and the budgets of devices."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nextafter

from pydantic import Field

from fednas.spec._base import Int, Model, Number, OneOf, Rule, Text
from fednas.spec._quantity import Bytes, quantity

__all__ = [
    "Bound",
    "Budget",
    "LatencyBudget",
    "LatencyTarget",
    "MacsBudget",
    "MacsTarget",
    "MemoryBudget",
    "MemoryTarget",
    "ParamsBudget",
    "ParamsTarget",
    "Target",
]

_MAX = 2**53 - 1
_NANOSECONDS = 1_000_000
"""In a millisecond: latencies are counted in whole nanoseconds."""


@dataclass(frozen=True)
class Bound:
    """At most so much of a resource: a share of the starting network's, or an amount.

    Parameters
    ----------
    resource : str
        Its name among a network's costs: ``macs``, ``latency.phone``.
    share : float or None
    amount : float or None
        In the unit of the costs: multiply-accumulates, values, bytes, nanoseconds.
    """

    resource: str
    share: float | None = None
    amount: float | None = None

    @property
    def written(self) -> tuple[str, float]:
        """The field below a target or a budget that says so, and its value: ``macs.share``."""
        kind = self.resource.partition(".")[0]
        if self.share is not None:
            return f"{kind}.share", self.share
        assert self.amount is not None, "one of both is given"
        if kind == "latency":
            return f"{kind}.milliseconds", self.amount / _NANOSECONDS
        return f"{kind}.absolute", self.amount

    def share_of(self, full: int) -> float:
        """The share of the starting network's cost: above 1 for an amount that exceeds it.

        A network that costs the very amount is within ``share * full``.
        """
        if self.share is not None:
            return self.share
        assert self.amount is not None, "one of both is given"
        share = self.amount / full
        return share if share * full >= self.amount else nextafter(share, inf)


class MacsBudget(OneOf):
    """A number of multiply-accumulates."""

    share: Number | None = Field(
        None, gt=0, le=1, description="Share of the starting network's multiply-accumulates."
    )
    absolute: Int | None = Field(
        None, ge=1, le=_MAX, description="Multiply-accumulates of one forward pass of one sample."
    )


class MacsTarget(MacsBudget):
    """A number of multiply-accumulates."""

    share: Number | None = Field(
        None, gt=0, lt=1, description="Share of the starting network's multiply-accumulates."
    )


class ParamsBudget(OneOf):
    """A number of trainable values."""

    share: Number | None = Field(
        None, gt=0, le=1, description="Share of the starting network's trainable values."
    )
    absolute: Int | None = Field(None, ge=1, le=_MAX, description="Trainable values.")


class ParamsTarget(ParamsBudget):
    """A number of trainable values."""

    share: Number | None = Field(
        None, gt=0, lt=1, description="Share of the starting network's trainable values."
    )


class MemoryBudget(OneOf):
    """Memory of training one batch."""

    share: Number | None = Field(
        None, gt=0, le=1, description="Share of what training the starting network takes."
    )
    absolute: Bytes | None = Field(
        None, description="Bytes: 48Mi. What Python and torch take by themselves comes on top."
    )


class MemoryTarget(MemoryBudget):
    """Memory of training one batch."""

    share: Number | None = Field(
        None, gt=0, lt=1, description="Share of what training the starting network takes."
    )


class LatencyBudget(Model):
    """Time of one forward pass on a device of this class."""

    rules = (
        Rule(
            lambda model: (model.share is None) != (model.milliseconds is None),
            "has(self.share) != has(self.milliseconds)",
            "must hold exactly one of share, milliseconds",
        ),
    )

    share: Number | None = Field(
        None, gt=0, le=1, description="Share of the starting network's time."
    )
    milliseconds: Number | None = Field(
        None, gt=0, le=1_000_000, description="Milliseconds of one forward pass of one sample."
    )


class LatencyTarget(LatencyBudget):
    """Time of one forward pass on a device."""

    device_class: Text = Field(
        min_length=1,
        max_length=16,
        description="The device class by whose latencyTable it is told.",
    )
    share: Number | None = Field(
        None, gt=0, lt=1, description="Share of the starting network's time."
    )


_MACS = "Multiply-accumulates (MACs) of one forward pass."
_PARAMS = "Trainable values."
_MEMORY = (
    "Memory of training one batch of training.batchSize: weights, gradients, momentum and "
    "activations."
)


class Target(OneOf):
    """The budget: the search ends when a network meets it."""

    macs: MacsTarget | None = Field(None, description=_MACS)
    params: ParamsTarget | None = Field(None, description=_PARAMS)
    memory: MemoryTarget | None = Field(None, description=_MEMORY)
    latency: LatencyTarget | None = Field(
        None, description="Time of one forward pass on a device, by a class's latencyTable."
    )

    @property
    def bound(self) -> Bound:
        """What it bounds, and to how much."""
        if self.latency is not None:
            return _latency(self.latency.device_class, self.latency)
        return _counted(self.chosen)


class Budget(OneOf):
    """What a class of devices can carry."""

    macs: MacsBudget | None = Field(None, description=_MACS)
    params: ParamsBudget | None = Field(None, description=_PARAMS)
    memory: MemoryBudget | None = Field(None, description=_MEMORY)
    latency: LatencyBudget | None = Field(
        None, description="Time of one forward pass, by this class's latencyTable."
    )

    def bound(self, device_class: str) -> Bound:
        """What it bounds for the class that has it, and to how much."""
        if self.latency is not None:
            return _latency(device_class, self.latency)
        return _counted(self.chosen)


def _counted(chosen: tuple[str, Model]) -> Bound:
    name, bound = chosen
    assert isinstance(bound, MacsBudget | ParamsBudget | MemoryBudget), name
    amount = None if bound.absolute is None else float(quantity(bound.absolute))
    return Bound(name, bound.share, amount)


def _latency(device_class: str, bound: LatencyBudget) -> Bound:
    amount = None if bound.milliseconds is None else bound.milliseconds * _NANOSECONDS
    return Bound(f"latency.{device_class}", bound.share, amount)
