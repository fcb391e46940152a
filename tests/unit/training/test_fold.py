"""Folding normalisation away, on real networks and on those where it must not be done."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fednas.models import build, start_architecture, to_vector
from fednas.training._fold import _pairs, folded

NETWORKS = {"cnn": 4, "mobilenet_v1": 27, "mobilenet_v2": 52, "resnet20": 21}


def unlike(network: nn.Module) -> nn.Module:
    """With normalisation that does something, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def images(channels: int = 3, size: int = 32) -> Tensor:
    return torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("name", "pairs"), NETWORKS.items())
def test_a_folded_network_answers_alike_and_is_given_back_bit_by_bit(name: str, pairs: int) -> None:
    network = unlike(
        build(start_architecture(name, channels=3, size=32, classes=10, width_multiplier=0.25))
    )
    before, layers = to_vector(network), dict(network.named_modules())
    with torch.inference_mode():
        wanted = network(images())
        with folded(network):
            assert sum(isinstance(m, nn.Identity) for m in network.modules()) >= pairs
            answer = network(images())
        again = network(images())
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(again, wanted)
    np.testing.assert_array_equal(to_vector(network), before)
    assert dict(network.named_modules()) == layers
    assert all(p.requires_grad and not p.is_inference() for p in network.parameters())


def test_it_is_given_back_after_an_error() -> None:
    network = unlike(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    before = to_vector(network)
    with pytest.raises(ZeroDivisionError), folded(network):
        raise ZeroDivisionError
    np.testing.assert_array_equal(to_vector(network), before)
    assert isinstance(network[1], nn.BatchNorm2d)


class Branching(nn.Module):
    """The convolution's output goes into two layers; or it is used twice; or the way depends."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.norm, self.way = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), way

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        if self.way == "two":
            return self.norm(maps) + maps
        if self.way == "again":
            return self.norm(self.conv(maps.relu()))
        if self.way == "between":
            return self.norm(maps.relu())
        if self.way == "keyword":
            return self.norm(input=maps)
        return self.norm(maps) if maps.sum() > 0 else maps


@pytest.mark.parametrize("way", ["two", "again", "between", "keyword", "depends"])
def test_where_it_would_change_the_answer_nothing_is_folded(way: str) -> None:
    network = unlike(Branching(way))
    assert _pairs(network) == ()
    with torch.no_grad():
        wanted = network(images())
        with folded(network):
            assert torch.equal(network(images()), wanted)


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)],
    ids=str,
)
def test_normalisation_by_the_images_at_hand_is_not_folded(norm: nn.Module) -> None:
    assert _pairs(unlike(nn.Sequential(nn.Conv2d(3, 4, 3), norm))) == ()


def test_normalisation_without_a_scale_is_folded() -> None:
    network = unlike(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)))
    wanted = network(images())
    with folded(network):
        torch.testing.assert_close(network(images()), wanted, rtol=1e-4, atol=1e-5)
        assert isinstance(network[1], nn.Identity)
