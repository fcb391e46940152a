"""From an Architecture to its Space: one traced pass, DepGraph once, every group proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod

import torch
from torch import nn

from fednas.errors import BadInput
from fednas.models import Architecture, build, layout
from fednas.own import first_line
from fednas.resources import Terms
from fednas.space._activations import activation_terms
from fednas.space._check import probe_weights, why_not_cut
from fednas.space._coupling import Coupling, find_couplings
from fednas.space._fits import check_answers, check_costs, unfit
from fednas.space._operations import find_operations
from fednas.space._space import Group, LeftOut, Space

__all__ = ["trace"]


def trace(arch: Architecture) -> Space:
    """What may be changed in a network, and what it costs.

    Parameters
    ----------
    arch : Architecture

    Returns
    -------
    Space
        Each of its groups passed masked-equals-cut in float64; the others are in ``left_out``.
        Its MACs and parameters equal the counted ones of ``arch``, and of a narrower network.

    Raises
    ------
    BadInput
        A network of one's own that cannot be built, answers no logits, has other groups than
        widths, has no group that can be cut, or computes by other layers than can be counted.
    """
    # With one channel, a depthwise convolution cannot be told from a full one.
    widths = [max(2, width) for width in arch.widths]
    module = build(arch.with_widths(widths))
    check_answers(module, arch)
    groups, left_out = prove(widths, lambda w: build(arch.with_widths([*w])), arch.input_shape)
    if not groups:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in left_out)
        raise unfit(arch, f"no group of its filters can be cut: {reasons}")
    positions = _positions(module, torch.zeros(1, *arch.input_shape))
    symbols = {
        (part.tensor, part.dim): (part.repeat, group.choice)
        for group in groups
        for part in group.slices
    }
    shapes = dict(layout(module))
    space = Space(
        start=arch,
        tensors=layout(module),
        groups=tuple(g.model_copy(update={"width": arch.widths[g.choice]}) for g in groups),
        left_out=left_out,
        macs_terms=Terms.collect(
            _numel(f"{layer}.weight", shapes, symbols, times) for layer, times in positions.items()
        ),
        params_terms=Terms.collect(
            _numel(name, shapes, symbols) for name, _ in module.named_parameters()
        ),
        activation_terms=activation_terms(
            widths, lambda w: build(arch.with_widths([*w])), arch.input_shape
        ),
        operations=find_operations(
            module, torch.zeros(1, *arch.input_shape), partial(_extent, shapes, symbols)
        ),
        min_batch=_min_batch(build(arch), torch.zeros(1, *arch.input_shape)),
    )
    narrow = [*arch.widths]
    for group in groups:
        narrow[group.choice] = max(1, narrow[group.choice] * 2 // 3)
    for each in (arch, arch.with_widths(narrow)):
        check_costs(space, each)
    return space


def prove(
    widths: Sequence[int],
    rebuild: Callable[[Sequence[int]], nn.Module],
    input_shape: tuple[int, int, int],
) -> tuple[tuple[Group, ...], tuple[LeftOut, ...]]:
    """The groups of a network that can be cut, and those that cannot.

    Parameters
    ----------
    widths : sequence of int
        At least 2 each.
    rebuild : callable
        Gives the network of any widths.
    input_shape : (C, H, W)
    """
    module = rebuild(widths)
    image = torch.zeros(1, *input_shape)
    try:
        couplings = find_couplings(module, image, [*_positions(module, image)])
    except Exception as error:
        raise BadInput(
            f"spec.model: the layers of this network cannot be followed: {first_line(error)}"
        ) from error
    found = [coupling.width for coupling in couplings]
    if found != [*widths]:
        named = ", ".join(f"{coupling.name} {coupling.width}" for coupling in couplings)
        raise BadInput(
            f"spec.model.args.widths: got {', '.join(map(str, widths))}; must be one for each "
            f"group of the network, in forward order; it has: {named or 'none'}"
        )
    weights = probe_weights(module, seed=0)
    images = torch.randn(
        1, *input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    groups: list[Group] = []
    left_out: list[LeftOut] = []
    for choice, coupling in enumerate(couplings):
        group = _group(coupling, choice)
        reason = coupling.problem or why_not_cut(group, module, widths, rebuild, weights, images)
        if reason is None:
            groups.append(group)
        else:
            left_out.append(
                LeftOut(name=group.name, choice=choice, width=group.width, reason=reason)
            )
    return tuple(groups), tuple(left_out)


def _group(coupling: Coupling, choice: int) -> Group:
    return Group(
        name=coupling.name,
        choice=choice,
        width=coupling.width,
        slices=coupling.slices,
        producers=coupling.producers,
    )


def _positions(module: nn.Module, image: torch.Tensor) -> dict[str, int]:
    """How often each layer's weight is used for one image: its output's pixels. In forward order.

    A layer takes that often its weight's size in MACs, be it full, depthwise or linear.
    """
    positions: dict[str, int] = {}
    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):

            def record(layer: nn.Module, _: object, output: torch.Tensor, name: str = name) -> None:
                channels = output.shape[1 if isinstance(layer, nn.Conv2d) else -1]
                positions[name] = positions.get(name, 0) + output[0].numel() // channels

            hooks.append(layer.register_forward_hook(record))
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad():
            module.eval()(image)
    finally:
        for part, training in modes:
            part.training = training
        for hook in hooks:
            hook.remove()
    return positions


def _min_batch(module: nn.Module, image: torch.Tensor) -> int:
    """1, or 2 where a normalisation layer refuses to train on one value a channel."""
    try:
        with torch.no_grad():
            module.train()(image)
    except ValueError:
        return 2
    return 1


def _numel(
    name: str,
    shapes: Mapping[str, tuple[int, ...]],
    symbols: Mapping[tuple[str, int], tuple[int, int]],
    times: int = 1,
) -> tuple[int, tuple[int, ...]]:
    """``times`` the size of a tensor, as (coefficient, indices of widths)."""
    parts = [_extent(shapes, symbols, name, dim) for dim in range(len(shapes[name]))]
    return times * prod(c for c, _ in parts), tuple(i for _, indices in parts for i in indices)


def _extent(
    shapes: Mapping[str, tuple[int, ...]],
    symbols: Mapping[tuple[str, int], tuple[int, int]],
    name: str,
    dim: int,
) -> tuple[int, tuple[int, ...]]:
    """The length of a tensor's dimension, as (coefficient, indices of widths)."""
    if (name, dim) in symbols:
        repeat, choice = symbols[name, dim]
        return repeat, (choice,)
    return shapes[name][dim], ()
