"""How a network is evaluated: its BatchNorm statistics made to fit, its right answers counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from fednas.data import Rows, split_rows
from fednas.spec import Normalize
from fednas.training._batch import Shape, normalise
from fednas.training._fold import folded

__all__ = ["Evaluated", "answers", "evaluate", "judge", "recalibrate"]


@dataclass(frozen=True)
class Evaluated:
    """Right answers, samples, and the sums of the cross-entropy losses and of the divergences."""

    correct: int
    total: int
    loss_sum: float
    divergence_sum: float = 0.0


def evaluate(
    module: nn.Module,
    rows: Rows,
    shape: Shape,
    batch_size: int = 128,  # faster than 256 by half on a CPU: it stays in the cache
    *,
    normalize: Normalize | None = None,
    reference: Tensor | None = None,
) -> Evaluated:
    """Count the right answers on all rows, in order; leaves the module in evaluation mode.

    Parameters
    ----------
    reference : Tensor [n, classes], optional
        Another network's `answers` to these rows: the Kullback-Leibler divergences of this one's
        from them are added up, in nats (Hinton, Vinyals and Dean, arXiv 1503.02531).
    """
    # Before inference mode begins: weights that are laid out anew in it can never be trained.
    module.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    correct, loss_sum, divergence_sum = 0, 0.0, 0.0
    with torch.inference_mode(), folded(module):
        for part, images, labels in _batches(rows, shape, batch_size, normalize):
            logits = module(images)
            correct += int((logits.argmax(1) == labels).sum())
            loss_sum += functional.cross_entropy(logits, labels, reduction="sum").item()
            if reference is not None:
                divergence_sum += _divergence(logits, reference[part]).sum().item()
    return Evaluated(correct, len(rows), loss_sum, divergence_sum)


def answers(
    module: nn.Module,
    rows: Rows,
    shape: Shape,
    batch_size: int = 128,
    *,
    normalize: Normalize | None = None,
) -> Tensor:
    """Logarithms of the classes' probabilities, float32 [n, classes], in evaluation mode."""
    module.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    with torch.inference_mode(), folded(module):
        return torch.cat(
            [
                module(images).log_softmax(1)
                for _, images, _ in _batches(rows, shape, batch_size, normalize)
            ]
        )


def judge(
    module: nn.Module,
    rows: Rows,
    shape: Shape,
    batch_size: int = 128,
    *,
    normalize: Normalize | None = None,
    reference: Tensor | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Loss of each of n rows, in nats, and whether the answer is right: float64 [n], bool [n].

    With a reference its divergence instead of the loss. They are those that `evaluate` adds up;
    leaves the module in evaluation mode.
    """
    module.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    losses, right = np.empty(len(rows)), np.empty(len(rows), np.bool_)
    with torch.inference_mode(), folded(module):
        for part, images, labels in _batches(rows, shape, batch_size, normalize):
            logits = module(images)
            losses[part] = (
                functional.cross_entropy(logits, labels, reduction="none")
                if reference is None
                else _divergence(logits, reference[part])
            ).numpy()
            right[part] = (logits.argmax(1) == labels).numpy()
    return losses, right


@torch.no_grad()
def recalibrate(
    module: nn.Module,
    rows: Rows,
    shape: Shape,
    batch_size: int = 128,
    *,
    normalize: Normalize | None = None,
) -> None:
    """Recompute the BatchNorm statistics of a network, in place.

    Averaged or cut weights do not fit the statistics that came with them. They become the plain
    mean over batches of nearly equal size; without BatchNorm nothing happens. Leaves the module
    in evaluation mode.

    Parameters
    ----------
    rows : uint8 array [n, 2 + C*H*W]
        The fixed calibration samples, n >= 2.
    """
    module.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
        norm.train()
    parts = math.ceil(len(rows) / batch_size)
    for chosen in np.array_split(np.arange(len(rows)), parts):
        images, _ = split_rows(rows[chosen], shape)
        module(normalise(images, normalize))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each row's answer from that of the reference: [n]."""
    each = functional.kl_div(logits.log_softmax(1), reference, reduction="none", log_target=True)
    return each.sum(1)


def _batches(
    rows: Rows, shape: Shape, batch_size: int, normalize: Normalize | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Which rows, their images, their labels."""
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        images, labels = split_rows(rows[part].copy(), shape)
        yield part, normalise(images, normalize), torch.from_numpy(labels)
