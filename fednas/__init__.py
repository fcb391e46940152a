"""Federated neural architecture search: on a laptop or in Kubernetes, to the same bits.

import fednas

search = fednas.load_spec("search.yaml")
result = fednas.run(search)
network = result.ladder[-1].load()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fednas._version import __version__
from fednas.errors import BadInput, FednasError, SearchFailed, SpecError
from fednas.spec import FederatedSearch, load_spec

if TYPE_CHECKING:
    from fednas.api import run
    from fednas.planning import plan
    from fednas.result import Result
    from fednas.result import open_target as open

__all__ = [
    "BadInput",
    "FederatedSearch",
    "FednasError",
    "Result",
    "SearchFailed",
    "SpecError",
    "__version__",
    "load_spec",
    "open",
    "plan",
    "run",
]

_LAZY = {
    "Result": ("fednas.result", "Result"),
    "open": ("fednas.result", "open_target"),
    "plan": ("fednas.planning", "plan"),
    "run": ("fednas.api", "run"),
}


def __getattr__(name: str) -> Any:
    """What runs a search is imported at its first use: reading a spec needs none of it."""
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
