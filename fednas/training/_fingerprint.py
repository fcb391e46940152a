"""Which bits this process computes: the digest of one short training that never changes.

Floating-point sums depend on their order, and so on torch's version, on its build, and on the
kernels that torch, oneDNN and MKL choose for the processor at hand. No list of their names tells
two processors apart; what they compute does.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch

from fednas.data import encode_rows, open_rows
from fednas.models import Architecture, build, start_architecture, to_vector
from fednas.spec import Sgd
from fednas.training._evaluate import evaluate, recalibrate
from fednas.training._train import train

__all__ = ["fingerprint", "numerics"]

# Widths that are whole vectors of 8 and of 16, and widths that leave a tail of each: a kernel
# treats the two differently. Few steps and small batches, so that a worker starts without a pause.
_CASES = (
    (
        start_architecture("mobilenet_v1", channels=3, size=32, classes=10).with_widths(
            (8, 20, 24, 37, 40, 68, 72, 132, 61, 64, 33, 68, 128, 516)
        ),
        32,
    ),
    (
        start_architecture("cnn", channels=1, size=16, classes=62).with_widths((32, 36, 48, 37)),
        64,
    ),
)
_STEPS = 2


@cache
def fingerprint() -> str:
    """The sha256, in lower-case hex, of what a fixed short training comes to in this process.

    Two steps of SGD, a recalibration and an evaluation of two small networks, which together hold
    every layer of the zoo: convolutions of 3 x 3, depthwise and pointwise ones, batch
    normalisation, pooling, a linear layer. Rows and first weights come from numpy's generator;
    torch's global state is neither changed nor, but for what chooses kernels, read. The first call
    takes 0.3 s, besides the 1 s in which torch loads its optimizers; later ones repeat the answer.

    Processes of equal fingerprint compute the same bits as far as these shapes can show: it is a
    sample of the kernels, not all of them.
    """
    assert torch.get_num_threads() == 1, "as for `train`: threads change the order of sums"
    found = hashlib.sha256()
    for architecture, batch_size in _CASES:
        found.update(_outcome(architecture, batch_size))
    return found.hexdigest()


def numerics() -> dict[str, str]:
    """What the bits of this process depend on, in words, and their ``digest``."""
    return {
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "numpy": ".".join(np.__version__.split(".")[:2]),
        "digest": fingerprint(),
    }


def _outcome(architecture: Architecture, batch_size: int) -> bytes:
    """Every number that a round of one client gives, as bytes."""
    rng = np.random.default_rng(0)
    samples, shape = _STEPS * batch_size, architecture.input_shape
    images = rng.integers(256, size=(samples, *shape), dtype=np.uint8)
    labels = rng.integers(architecture.classes, size=samples)
    rows = open_rows(encode_rows(images, labels))
    module = build(architecture)
    trained = train(
        module,
        rows,
        shape,
        epochs=1,
        batch_size=batch_size,
        optimizer=Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4),
        seed=0,
    )
    weights = to_vector(module).tobytes()
    recalibrate(module, rows, shape)
    losses = np.array([trained.loss, evaluate(module, rows, shape).loss_sum])
    return weights + to_vector(module).tobytes() + losses.tobytes()
