"""Teaching a network another's answers (Hinton et al., arXiv 1503.02531), without labels.

A network that was cut and refitted computes nearly what the whole one does; a short training on few
images, changed anew in each batch, brings it nearer. Its batch-norm statistics stay as they are: by
those of each batch it would compute something else than what is compared, and end farther away than
it began where little was cut.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fednas.data import Rows, split_rows
from fednas.seeds import derive_seed
from fednas.spec import Normalize, Sgd
from fednas.training._augment import augment
from fednas.training._batch import Shape, normalise

__all__ = ["distil"]


def distil(
    module: nn.Module,
    teacher: nn.Module,
    rows: Rows,
    shape: Shape,
    *,
    steps: int,
    batch_size: int,
    optimizer: Sgd,
    seed: int,
    normalize: Normalize | None = None,
) -> float:
    """SGD on the Kullback-Leibler divergence of a network's answers from a teacher's, in place.

    Images are flipped and moved at random, whatever the spec says of clients: the teacher is asked
    about each as it is.

    Parameters
    ----------
    module, teacher : nn.Module
        float32; put into the channels_last layout and evaluation mode.
    rows : uint8 array [n, 2 + C*H*W], n >= 2
        Their labels are not looked at.
    shape : (C, H, W)
    steps, batch_size : int
        Batches of ``min(batch_size, n)`` rows, cut from seeded permutations.
    optimizer : Sgd
        Its rate is that of the first step, and falls in a line to 0 after the last.
    seed : int
        Of the permutations, and of how images are changed.

    Returns
    -------
    float
        Mean divergence over the steps, in nats an image.
    """
    batch = min(batch_size, len(rows))
    draw = np.random.default_rng(seed)
    for network in (module, teacher):
        network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sgd = torch.optim.SGD(
        module.parameters(),
        lr=optimizer.learning_rate,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        fused=True,
    )
    total, order = 0.0, draw.permutation(0)
    for step in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, draw.permutation(len(rows))])
        chosen, order = order[:batch], order[batch:]
        images, _ = split_rows(rows[chosen], shape)
        images = augment(images, ("flip", "crop"), derive_seed(seed, "augment", step))
        inputs = normalise(images, normalize)
        with torch.no_grad():
            wanted = functional.log_softmax(teacher(inputs), dim=1)
        answers = functional.log_softmax(module(inputs), dim=1)
        loss = functional.kl_div(answers, wanted, reduction="batchmean", log_target=True)
        for group in sgd.param_groups:
            group["lr"] = optimizer.learning_rate * (1 - step / steps)
        sgd.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        total += loss.item()
    return total / steps
