"""What training keeps of each sample until the backward pass: the activations, in bytes.

Autograd says itself what it saves. Every saved tensor's size is linear in each width, so a pass
over the network as it stands and one with each width doubled give every coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from fednas.resources import Terms

__all__ = ["activation_terms"]


def activation_terms(
    widths: Sequence[int],
    rebuild: Callable[[Sequence[int]], nn.Module],
    input_shape: tuple[int, int, int],
) -> Terms:
    """Bytes per sample as a sum over widths, the float32 image itself included.

    Parameters
    ----------
    widths : sequence of int
    rebuild : callable
        Gives the network of any widths.
    input_shape : (C, H, W)
    """

    def saved(widths: Sequence[int]) -> int:
        module = rebuild(widths).train()
        # The difference leaves out what a step saves however many samples it has.
        two, four = (_saved(module, torch.zeros(n, *input_shape)) for n in (2, 4))
        return (four - two) // 2

    whole = rest = saved(widths)
    terms: list[tuple[int, tuple[int, ...]]] = []
    for index, width in enumerate(widths):
        more = saved([*widths[:index], 2 * width, *widths[index + 1 :]]) - whole
        assert more % width == 0, f"what training saves is not linear in width {index}"
        terms.append((more // width, (index,)))
        rest -= more
    return Terms.collect([*terms, (rest, ())])


def _saved(module: nn.Module, images: torch.Tensor) -> int:
    """Bytes of all that autograd saves in one training step, each storage once."""
    own = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> None:
        """Of the tensor nothing stays in the graph, which would never let go of its own outputs."""
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other takes its address

    labels = torch.zeros(len(images), dtype=torch.int64)
    with saved_tensors_hooks(keep, lambda nothing: nothing):  # there is no backward pass
        functional.cross_entropy(module(images), labels)
    return sum(storage.nbytes() for storage in kept.values())
