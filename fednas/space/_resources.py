"""What a network costs, by name: a target and a budget name one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fednas.space._space import Space

__all__ = ["RESOURCES", "Resource", "costs", "resource"]


@dataclass(frozen=True)
class Resource:
    """One cost of a network.

    Parameters
    ----------
    name : str
        As in ``spec.target``, and among a network's costs.
    cost : callable
        Space, widths -> the cost of the whole network.
    label : str
        What is counted, in a word: behind ``0.52x``.
    axis : str
        What it is the cost of, for the axis of a figure.
    units : tuple of (float, str)
        For people, the largest first.
    """

    name: str
    cost: Callable[[Space, Sequence[int]], int]
    label: str = ""
    axis: str = ""
    units: tuple[tuple[float, str], ...] = ((1.0, ""),)

    def unit(self, cost: float) -> tuple[float, str]:
        """The largest unit that a cost has at least one of: its size and its name."""
        return next((unit for unit in self.units if cost >= unit[0]), self.units[-1])

    def words(self, cost: float) -> str:
        """A cost for people, to four digits: ``31.18 MMAC``."""
        size, unit = self.unit(cost)
        return f"{cost / size:.4g} {unit}".rstrip()


RESOURCES = {
    resource.name: resource
    for resource in (
        Resource(
            "macs",
            Space.macs,
            "MACs",
            "forward pass of one sample",
            ((1e9, "GMAC"), (1e6, "MMAC"), (1e3, "kMAC"), (1.0, "MAC")),
        ),
        Resource(
            "params",
            Space.params,
            "parameters",
            "trainable values",
            ((1e6, "M"), (1e3, "k"), (1.0, "values")),
        ),
        Resource(
            "memory",
            Space.memory,
            "memory",
            "training of one batch",
            ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
        ),
    )
}
"""Every resource that any network has, by name."""

_LATENCY = "latency."


def resource(name: str) -> Resource:
    """The resource of that name: one of `RESOURCES`, or the latency on a class of devices."""
    if not name.startswith(_LATENCY):
        return RESOURCES[name]
    device_class = name.removeprefix(_LATENCY)
    return Resource(
        name,
        lambda space, widths: space.latency(device_class, widths),
        f"latency on {device_class}",
        f"forward pass of one sample on {device_class}",
        ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
    )


def costs(space: Space, widths: Sequence[int]) -> dict[str, int]:
    """Every cost of the network of these widths, latencies by the tables that the space holds."""
    names = (*RESOURCES, *(_LATENCY + device_class for device_class in space.latencies))
    return {name: resource(name).cost(space, widths) for name in names}
