"""What a network costs, by name: a target and a budget name one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fednas.space._space import Space

__all__ = ["RESOURCES", "Resource", "costs"]


@dataclass(frozen=True)
class Resource:
    """One cost of a network.

    Parameters
    ----------
    name : str
        As in ``spec.target``.
    cost : callable
        Space, widths -> the cost of the whole network.
    """

    name: str
    cost: Callable[[Space, Sequence[int]], int]


RESOURCES = {
    resource.name: resource
    for resource in (Resource("macs", Space.macs), Resource("params", Space.params))
}
"""Every resource by name."""


def costs(space: Space, widths: Sequence[int]) -> dict[str, int]:
    """Every cost of the network of these widths."""
    return {name: resource.cost(space, widths) for name, resource in RESOURCES.items()}
