"""Batch normalisation folded into the convolution before it, while a network is only evaluated.

In evaluation mode both are one affine map (Jacob et al., arXiv 1712.05877, section 3.2): half of
MobileNet's time goes into passes over memory that it spares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["folded"]

Pair = tuple[str, str]

_found: WeakKeyDictionary[nn.Module, tuple[Pair, ...]] = WeakKeyDictionary()


@contextmanager
def folded(module: nn.Module) -> Iterator[None]:
    """The network with its normalisation folded away; afterwards it is as it was, bit by bit.

    A network that torch cannot trace symbolically, since its way depends on the data, is left as
    it is.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode.
    """
    if module not in _found:
        _found[module] = _pairs(module)
    layers: dict[str, Any] = dict(module.named_modules())
    pairs = _found[module]
    before = {conv: (layers[conv].weight, layers[conv].bias) for conv, _ in pairs}
    try:
        for name, after in pairs:
            conv, norm = layers[name], layers[after]
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            module.set_submodule(after, nn.Identity())
        yield
    finally:
        for name, after in pairs:
            module.set_submodule(after, layers[after])
            layers[name].weight, layers[name].bias = before[name]


def _pairs(module: nn.Module) -> tuple[Pair, ...]:
    """Convolutions whose output goes into a normalisation and nowhere else; each is used once."""
    try:
        graph = fx.Tracer().trace(module)
    except Exception:
        return ()
    calls = [node for node in graph.nodes if node.op == "call_module"]
    uses = Counter(node.target for node in calls)
    layers = dict(module.named_modules())
    found = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        conv, norm = layers.get(str(before.target)), layers.get(str(node.target))
        if (
            type(conv) is nn.Conv2d
            and type(norm) is nn.BatchNorm2d
            and norm.track_running_stats
            and uses[before.target] == uses[node.target] == len(before.users) == 1
        ):
            found.append((str(before.target), str(node.target)))
    return tuple(found)
