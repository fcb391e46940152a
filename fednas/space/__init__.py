"""What may be changed in a network, what it then costs, and its first weights.

`trace`, `measure_latencies` and what refits need torch, which is imported at their first use;
everything else is plain Python and numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fednas.space._derive import by_strength, cut_filters, derive
from fednas.space._resources import RESOURCES, Resource, costs, resource
from fednas.space._space import Group, LeftOut, Slice, Space
from fednas.space._thin import thin

if TYPE_CHECKING:
    from fednas.space._measure import measure_latencies
    from fednas.space._refit import kept_outputs, refit
    from fednas.space._trace import trace

__all__ = [
    "RESOURCES",
    "Group",
    "LeftOut",
    "Resource",
    "Slice",
    "Space",
    "by_strength",
    "costs",
    "cut_filters",
    "derive",
    "kept_outputs",
    "measure_latencies",
    "refit",
    "resource",
    "thin",
    "trace",
]

_NEED_TORCH = {
    "kept_outputs": "_refit",
    "measure_latencies": "_measure",
    "refit": "_refit",
    "trace": "_trace",
}


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(import_module(f"fednas.space.{_NEED_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
