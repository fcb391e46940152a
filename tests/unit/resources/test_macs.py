import torch
from torch import nn

from fednas.resources import count_macs, count_params


def test_a_convolution_by_hand():
    layer = nn.Conv2d(3, 5, 3, padding=1)
    assert count_macs(layer, torch.zeros(1, 3, 8, 8)) == 3 * 5 * 9 * 64
    assert count_params(layer) == 3 * 5 * 9 + 5


def test_a_depthwise_convolution_by_hand():
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
    assert count_macs(layer, torch.zeros(2, 4, 8, 8)) == 2 * 4 * 9 * 16


def test_each_layers_mode_and_statistics_are_left_alone():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
    module[2].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    count_macs(module, torch.ones(1, 1, 2, 2))
    assert [layer.training for layer in module] == [True, True, False]
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
