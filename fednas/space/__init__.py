"""What may be changed in a network, what it then costs, and its first weights.

`trace` and `measure_latencies` need torch, which is imported at their first use; everything else is
plain Python and numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fednas.space._derive import derive
from fednas.space._resources import RESOURCES, Resource, costs, resource
from fednas.space._space import Group, LeftOut, Slice, Space

if TYPE_CHECKING:
    from fednas.space._measure import measure_latencies
    from fednas.space._trace import trace

__all__ = [
    "RESOURCES",
    "Group",
    "LeftOut",
    "Resource",
    "Slice",
    "Space",
    "costs",
    "derive",
    "measure_latencies",
    "resource",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name == "measure_latencies":
        return import_module("fednas.space._measure").measure_latencies
    if name == "trace":
        return import_module("fednas.space._trace").trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
