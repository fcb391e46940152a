"""Modules that a worker keeps, so that it does not build a network for every task.

What is kept is bounded in bytes, and holds no gradients: a module of MobileNetV1 at width 1.0 takes
13 MB, with gradients and optimizer state three times as much.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from fednas.models import Architecture, decode

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LIMIT", "ModuleCache", "loaded", "module_of"]

LIMIT = 64 << 20
"""Bytes of weights that one worker keeps."""


class ModuleCache:
    """Modules by architecture, the least recently used dropped first.

    Parameters
    ----------
    limit : int
        Bytes; one module is kept even if it alone is larger.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._modules: OrderedDict[str, tuple[nn.Module, int]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Of the modules that are kept."""
        return sum(size for _, size in self._modules.values())

    def get(self, architecture: Architecture) -> nn.Module:
        """The module, with whatever weights it was left with, without gradients."""
        from fednas.models import build

        key = architecture.key()
        if key not in self._modules:
            module = build(architecture)
            size = sum(t.numel() * t.element_size() for t in module.state_dict().values())
            self._modules[key] = module, size
        self._modules.move_to_end(key)
        while len(self._modules) > 1 and self.bytes > self.limit:
            self._modules.popitem(last=False)
        module, _ = self._modules[key]
        module.zero_grad(set_to_none=True)
        return module


_cache = ModuleCache(LIMIT)


def loaded(architecture: Architecture, blob: bytes) -> nn.Module:
    """The network with these weights; this process's own until the next call."""
    from fednas.models import load_vector

    module = _cache.get(architecture)
    load_vector(module, decode(blob))
    return module


def module_of(architecture: Architecture) -> nn.Module:
    """The network with whatever weights it was left with."""
    return _cache.get(architecture)
