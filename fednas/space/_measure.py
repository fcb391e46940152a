"""Measuring what each layer takes on this device, for a table of latencies.

Layers that differ in widths alone are one surface, measured at few widths. Machines drift and have
other work, which only ever adds: what counts is the time of the thread on its CPU, the points are
visited in turns, several times over, and of each the median of its quietest visit is taken.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np
import torch
from torch import nn

from fednas.models import build
from fednas.resources import NETWORK, Key, LatencyRow, LatencyTable, Operation
from fednas.seeds import derive_seed
from fednas.space._space import Space

__all__ = ["build_operation", "measure_latencies", "random_widths", "visit"]

MAX_WIDTHS = 6
"""So many of each of a layer's widths are measured at most."""
_ALIGNED = 8
"""Kernels are made for such multiples: what lies between them is interpolated, not beside them."""
_WARM, _CALLS = 2, 7
_CUTS, _TIMES = 8, 3
"""So many cuts tell what a network takes beside its layers. They are visited so often in a pass: a
longer run is less likely to be a quiet one."""

Shape = tuple[Key, int, int]
"""A layer: its key, channels in and out."""


def measure_latencies(
    space: Space,
    *,
    device: str,
    passes: int = 9,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[LatencyRow]:
    """Time every distinct layer of a network at up to 6 x 6 widths, and whole networks.

    In evaluation mode, one sample, float32, channels_last, with as many threads as torch is set to.

    Parameters
    ----------
    space : Space
        Of the network.
    device : str
        What the rows call this machine.
    passes : int
        Visits of each layer.
    told : callable
        Visits that are done, and of how many.

    Returns
    -------
    list of LatencyRow
        A row per layer and pair of widths, and one of the network's constant: the median of what
        random cuts take beyond the sum of their layers.
    """
    runtime = f"torch {torch.__version__}, {torch.get_num_threads()} thread"
    cuts = [space.start.widths, *(random_widths(space, number) for number in range(_CUTS - 1))]
    layers, networks = [*_shapes(space)], [build(space.start.with_widths(w)) for w in cuts]
    image = torch.zeros(1, *space.start.input_shape)
    visits = [*layers, *(_TIMES * [*range(len(networks))])]
    quietest: dict[Shape | int, float] = {}
    for number in range(passes):
        for place, what in enumerate(visits):
            if isinstance(what, int):
                found = visit(networks[what], image)
            else:
                found = visit(*build_operation(*what))
            quietest[what] = min(found, quietest.get(what, found))
            told(number * len(visits) + place + 1, passes * len(visits))

    def row(key: Key, inputs: int, outputs: int, milliseconds: float) -> LatencyRow:
        return LatencyRow(*key, inputs, outputs, milliseconds, device, runtime)

    rows = [row(*shape, quietest[shape]) for shape in layers]
    table = LatencyTable.of(rows, "measured")
    beside = [
        quietest[number] - table.milliseconds(space.operations, widths)
        for number, widths in enumerate(cuts)
    ]
    return [*rows, row((NETWORK, 0, 0, 0), 0, 0, median(beside))]


def random_widths(space: Space, number: int) -> tuple[int, ...]:
    """Widths of a random cut: each group keeps between a quarter and all, in multiples of 4."""
    rng = np.random.default_rng(derive_seed(0, "latency", number))
    widths = [*space.start.widths]
    for group in space.groups:
        least = min(group.width, max(4, group.width // 4))
        drawn = int(rng.integers(least, group.width + 1))
        widths[group.choice] = max(least, drawn // 4 * 4)
    return tuple(widths)


def visit(module: nn.Module, images: torch.Tensor) -> float:
    """Milliseconds of a call on this thread's CPU: the median of 7, after 2 that do not count."""
    module.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
    found = []
    with torch.inference_mode():
        for _ in range(_WARM + _CALLS):
            begun = time.thread_time_ns()
            module(images)
            found.append(time.thread_time_ns() - begun)
    return median(found[_WARM:]) / 1e6


def build_operation(key: Key, inputs: int, outputs: int) -> tuple[nn.Module, torch.Tensor]:
    """A layer of its own, as `Operation.name` describes it, and an input for it."""
    (kind, *behind), kernel, stride, size = key[0].split("+"), *key[1:]
    if kind == "linear":
        layer: nn.Module = nn.Linear(inputs, outputs)
    else:
        groups = outputs if kind == "depthwise" else 1
        layer = nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride,
            kernel // 2,
            groups=groups,
            bias="batch_norm" not in key[0],
        )
    parts = [layer, *(_BEHIND[name](outputs) for name in behind)]
    return nn.Sequential(*parts), torch.zeros(1, inputs, *([size] * 2 if kind != "linear" else []))


_BEHIND: dict[str, Callable[[int], nn.Module]] = {
    "batch_norm": nn.BatchNorm2d,
    "group_norm": lambda channels: nn.GroupNorm(1, channels),
    "relu": lambda _: nn.ReLU(inplace=True),
    "relu6": lambda _: nn.ReLU6(inplace=True),
    "hardswish": lambda _: nn.Hardswish(inplace=True),
    "hardsigmoid": lambda _: nn.Hardsigmoid(inplace=True),
    "sigmoid": lambda _: nn.Sigmoid(),
    "silu": lambda _: nn.SiLU(inplace=True),
    "gelu": lambda _: nn.GELU(),
}


def _shapes(space: Space) -> Iterator[Shape]:
    """Every layer to be measured, each once."""
    layers: dict[Key, list[Operation]] = defaultdict(list)
    for one in space.operations:
        layers[one.key].append(one)
    for key, alike in layers.items():
        outputs = _axis([(one.outputs, one.channels(space.start.widths)[1]) for one in alike])
        if key[0].startswith("depthwise"):
            yield from ((key, width, width) for width in outputs)
            continue
        inputs = _axis([(one.inputs, one.channels(space.start.widths)[0]) for one in alike])
        yield from ((key, i, o) for i in inputs for o in outputs)


def _axis(extents: Sequence[tuple[tuple[int, tuple[int, ...]], int]]) -> list[int]:
    """Widths between the fewest and the most channels, in equal ratios, aligned."""
    most = max(channels for _, channels in extents)
    least = min(
        channels if not indices else min(channels, 4 * factor)
        for (factor, indices), channels in extents
    )
    found = {least, most}
    for width in np.geomspace(least, most, MAX_WIDTHS)[1:-1]:
        aligned = round(width / _ALIGNED) * _ALIGNED if width >= _ALIGNED else round(width)
        found.add(min(most, max(least, aligned)))
    return sorted(found)
