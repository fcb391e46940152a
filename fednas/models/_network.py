"""From an Architecture to a torch module, and between a module and its weight vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fednas.errors import DataError
from fednas.models._architecture import Architecture
from fednas.models._own import own_network
from fednas.models.cnn import ConvNet
from fednas.models.mobilenet_v1 import MobileNetV1
from fednas.models.mobilenet_v2 import MobileNetV2
from fednas.models.resnet20 import ResNet20

__all__ = ["build", "initialise", "layout", "load_vector", "to_vector"]

_NETWORKS: dict[str, Callable[[int, int, int, tuple[int, ...]], nn.Module]] = {
    "cnn": ConvNet,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "resnet20": ResNet20,
}

_COUNTER = "num_batches_tracked"


def build(arch: Architecture, vector: npt.NDArray[np.float32] | None = None) -> nn.Module:
    """The network, in train mode, on the CPU.

    Parameters
    ----------
    arch : Architecture
    vector : float32 array of shape [n], optional
        Its weights; those of ``initialise(arch, 0)`` if there are none. Torch's random state is
        neither read nor changed.
    """
    module = _construct(arch)
    load_vector(module, _draw(module, 0) if vector is None else vector)
    return module


def initialise(arch: Architecture, seed: int) -> npt.NDArray[np.float32]:
    """Weights of an untrained network, float32 of shape [n].

    Convolutions and the classifier are normal with variance 2 / fan-in (He et al., arXiv
    1502.01852) and 1 / fan-in; biases are zero; what else has one dimension, such as
    normalisation, is as the network was built. The draws come from numpy's generator, whose bits
    do not depend on the CPU's vector instructions as torch's do.

    Parameters
    ----------
    arch : Architecture
    seed : int
        The only source of randomness.
    """
    return _draw(_construct(arch), seed)


def layout(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Name and shape of every tensor, in the order in which they lie in the weight vector.

    All of the state dict but ``num_batches_tracked``.
    """
    return tuple((name, tuple(tensor.shape)) for name, tensor in _tensors(module))


def to_vector(module: nn.Module) -> npt.NDArray[np.float32]:
    """All weights and running statistics as one new float32 array of shape [n]."""
    flat = torch.cat([tensor.reshape(-1).float() for _, tensor in _tensors(module)])
    return cast("npt.NDArray[np.float32]", flat.numpy())


def load_vector(module: nn.Module, vector: npt.NDArray[np.float32]) -> None:
    """Overwrite all weights and running statistics of a module; batches are counted anew.

    Raises
    ------
    DataError
        The vector does not have the length that the module needs.
    """
    tensors = list(_tensors(module))
    length = sum(tensor.numel() for _, tensor in tensors)
    if vector.shape != (length,):
        raise DataError(f"weights: got shape {list(vector.shape)}; this network needs [{length}]")
    flat = torch.tensor(vector)
    start = 0
    for _, tensor in tensors:
        end = start + tensor.numel()
        tensor.copy_(flat[start:end].view(tensor.shape))
        start = end
    for name, counter in module.named_buffers():
        if name.endswith(_COUNTER):
            counter.zero_()  # a cumulative mean (momentum None) would depend on what came before


def _construct(arch: Architecture) -> nn.Module:
    channels, size, _ = arch.input_shape
    construct = _NETWORKS.get(arch.family) or own_network(arch.family)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # one's own network may keep what it draws
        return construct(channels, size, arch.classes, arch.widths)


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in module.state_dict().items():
        if not name.endswith(_COUNTER):
            yield name, tensor


def _draw(module: nn.Module, seed: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    parts = []
    for name, tensor in _tensors(module):
        shape, size = tuple(tensor.shape), tensor.numel()
        if len(shape) >= 2:
            gain = 2.0 if len(shape) == 4 else 1.0
            fan_in = size // shape[0]
            scale = np.float32(np.sqrt(gain / fan_in))
            parts.append(rng.standard_normal(size, dtype=np.float32) * scale)
        else:
            built = tensor.reshape(-1).float().numpy()
            parts.append(np.zeros_like(built) if name.endswith("bias") else built)
    return np.concatenate(parts)
