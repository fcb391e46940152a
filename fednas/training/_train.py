"""What one client does in a round.

Everything in this package is a function of its arguments: the same network, rows and seed give
the same bits in any process that runs torch with one intra-op thread (the caller sets that;
another number of threads changes the order of sums). Rows stay uint8 in a shared memory map; only
the batch at hand becomes float32, in the channels_last layout, in which convolutions run fastest
on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from fednas.data import Rows, split_rows
from fednas.seeds import derive_seed
from fednas.spec import Augmentation, Normalize, Sgd
from fednas.training._augment import augment
from fednas.training._batch import Shape, normalise

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """How much `train` did: samples = steps * batch, and the mean loss over the steps."""

    samples: int
    loss: float


def train(
    module: nn.Module,
    rows: Rows,
    shape: Shape,
    *,
    epochs: float,
    batch_size: int,
    optimizer: Sgd,
    seed: int,
    augmentation: Sequence[Augmentation] = (),
    normalize: Normalize | None = None,
    within: Sequence[nn.Module] = (),
) -> Trained:
    """Train on one client's rows: SGD on the cross-entropy loss, in place.

    Batches are always full, ``min(batch_size, n)`` rows cut from one seeded permutation that
    repeats; ``ceil(epochs * n / batch)`` steps, so epochs may be fractional.

    Parameters
    ----------
    module : nn.Module
        float32; put into training mode and the channels_last layout.
    rows : uint8 array [n, 2 + C*H*W]
        The client's shard, n >= 2 (`fednas.data.open_rows`).
    shape : (C, H, W)
    epochs : float
    batch_size : int
    optimizer : Sgd
        At a constant rate; weight decay on every parameter.
    seed : int
        Of the permutation, of what each batch is augmented by, and of what the network itself
        draws, such as dropout.
    augmentation : sequence of str, default ()
        See `augment`.
    normalize : Normalize, optional
        See `normalise`.
    within : sequence of nn.Module
        Narrower networks of the same layers, of which one, drawn for each batch, is trained on it
        besides: by the module's own weights, of each tensor the first part. The loss that is
        told is the module's.
    """
    samples = len(rows)
    batch = min(batch_size, samples)
    steps = math.ceil(epochs * samples / batch)
    order = np.random.default_rng(seed).permutation(samples)
    draw = np.random.default_rng(derive_seed(seed, "within"))
    for network in (module, *within):
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    sgd = torch.optim.SGD(
        module.parameters(),
        lr=optimizer.learning_rate,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        fused=True,
    )
    loss_sum = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for step in range(steps):
            chosen = order.take(range(step * batch, (step + 1) * batch), mode="wrap")
            images, labels = split_rows(rows[chosen], shape)
            images = augment(images, augmentation, derive_seed(seed, "augment", step))
            inputs, targets = normalise(images, normalize), torch.from_numpy(labels)
            loss = functional.cross_entropy(module(inputs), targets)
            sgd.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if within:
                inner = within[int(draw.integers(len(within)))]
                logits = functional_call(inner, _first(module, inner), (inputs,))
                functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
            sgd.step()
            loss_sum += loss.item()
    return Trained(samples=steps * batch, loss=loss_sum / steps)


def _first(module: nn.Module, inner: nn.Module) -> dict[str, torch.Tensor]:
    """Views of a network's parameters as large as those of a narrower one."""
    sizes = {name: parameter.shape for name, parameter in inner.named_parameters()}
    return {
        name: parameter[tuple(map(slice, sizes[name]))]
        for name, parameter in module.named_parameters()
    }
