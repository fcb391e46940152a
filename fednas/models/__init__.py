"""The zoo: one network a file, an `Architecture` that names one, and its weight vector.

Names that need torch are imported at their first use, so that the parts of fednas that only
speak of networks start without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fednas.models._architecture import FAMILIES, Architecture, start_architecture, starting_network
from fednas.models._codec import decode, encode
from fednas.models._model import Model
from fednas.models._state_dict import state_vector

if TYPE_CHECKING:
    from fednas.models._network import build, initialise, layout, load_vector, to_vector

__all__ = [
    "FAMILIES",
    "Architecture",
    "Model",
    "build",
    "decode",
    "encode",
    "initialise",
    "layout",
    "load_vector",
    "start_architecture",
    "starting_network",
    "state_vector",
    "to_vector",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("fednas.models._network"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
