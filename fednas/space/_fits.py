"""What a network must do for a search: read images, answer logits, compute by layers that count.

The zoo's do, by its tests; a network of one's own is asked before any client trains it.
"""

from __future__ import annotations

import torch
from torch import nn

from fednas.errors import BadInput
from fednas.models import Architecture, build, layout
from fednas.own import first_line
from fednas.resources import count_macs, count_params
from fednas.space._space import Space

__all__ = ["check_answers", "check_costs", "unfit"]


def check_answers(module: nn.Module, arch: Architecture) -> None:
    """`BadInput` unless images give logits in both modes, and logits a gradient."""
    images = torch.zeros(2, *arch.input_shape)
    wanted = (2, arch.classes)
    try:
        logits = module.train()(images)
        logits.sum().backward()
        with torch.no_grad():
            answers = {"training": logits, "evaluation": module.eval()(images)}
    except Exception as error:
        raise unfit(
            arch, f"cannot train on images {[*images.shape]}: {first_line(error)}"
        ) from error
    finally:
        module.train().zero_grad()
    for mode, answer in answers.items():
        if answer.shape != wanted:
            raise unfit(
                arch,
                f"answers {[*answer.shape]} to images {[*images.shape]} in {mode}; must be logits "
                f"{[*wanted]}",
            )


def check_costs(space: Space, arch: Architecture) -> None:
    """`BadInput` unless the space's sums are what torch counts for a network of it."""
    module = build(arch)
    macs = count_macs(module, torch.zeros(1, *arch.input_shape))
    summed = (space.macs(arch.widths), space.params(arch.widths))
    if summed != (macs, count_params(module)):
        raise unfit(
            arch,
            f"at widths {', '.join(map(str, arch.widths))} its layers add up to {summed[0]:,} MACs "
            f"and {summed[1]:,} parameters, torch counts {macs:,} and {count_params(module):,}; "
            "must compute by nn.Conv2d and nn.Linear alone, each as wide as its group",
        )
    if tuple(space.shapes(arch.widths).items()) != layout(module):
        raise unfit(
            arch, "its tensors at fewer filters are others; must keep their names and order"
        )


def unfit(arch: Architecture, what: str) -> BadInput:
    """The error that a network cannot be searched."""
    field = "module" if ":" in arch.family else "name"
    return BadInput(f"spec.model.{field}: {arch.family}: {what}")
