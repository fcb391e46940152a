import numpy as np
import pytest
import torch
from torch import nn

from fednas.data import encode_rows, load_digits, open_rows

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rows():
    digits = load_digits()
    return open_rows(encode_rows(digits.images[:256], digits.labels[:256]))


@pytest.fixture
def make_network():
    """A small network whose weights do not depend on torch's random numbers."""

    def make(norm=True):
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 4 * 4, 10),
        )
        rng = np.random.default_rng(0)
        nn.init.zeros_(network[-1].bias)
        with torch.no_grad():
            for tensor in network.parameters():
                if tensor.ndim > 1:
                    values = rng.normal(0, 0.2, tensor.shape).astype(np.float32)
                    tensor.copy_(torch.from_numpy(values))
        return network

    return make
