"""Refitting a network that was cut, on a small real one of every kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fednas.models import Architecture, build, initialise, to_vector
from fednas.space import Space, cut_filters, kept_outputs, refit
from fednas.space import _refit as module_of_refit

Traced = Callable[[str, int], Space]
CASES = [("cnn", 8), ("cnn", 32), ("mobilenet_v1", 32)]


class Cut:
    """A parent, what is left of it at these widths, and images that tell of both."""

    def __init__(self, space: Space, widths: tuple[int, ...], images: int = 48) -> None:
        generator = torch.Generator().manual_seed(3)
        _, height, width = space.start.input_shape
        self.images = torch.randn(images, 3, height, width, generator=generator)
        self.parent = self._parent(space.start)
        self.widths = widths
        vector, kept = cut_filters(
            space, space.start, to_vector(self.parent), space.start.with_widths(widths)
        )
        self.kept = kept_outputs(space, kept)
        self.child = build(space.start.with_widths(widths), vector)
        self.plain = deepcopy(self.child)

    def _parent(self, network: Architecture) -> nn.Module:
        parent = build(network, initialise(network, 5))
        with torch.no_grad():
            for parameter in parent.parameters():
                parameter += 0.02 * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
                )
            gather(parent, self.images)
        return parent.eval()

    def refitted(self) -> nn.Module:
        refit(self.child, self.parent, self.kept, self.images)
        return self.child


@torch.no_grad()
def gather(network: nn.Module, images: Tensor) -> None:
    """Batch-norm statistics of these images, in one batch."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def halved(space: Space) -> tuple[int, ...]:
    return tuple(max(1, width // 2) for width in space.start.widths)


def outputs(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What each convolution and linear layer gives."""
    found: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, __, output, name=name: found.__setitem__(name, output)
        )
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return found


def errors(cut: Cut, network: nn.Module) -> dict[str, float]:
    """Layer -> squared distance from what the parent gives at the outputs that are left.

    Means aside, which a bias or the normalisation takes up.
    """
    whole, here = outputs(cut.parent, cut.images), outputs(network, cut.images)
    found = {}
    for name, output in here.items():
        chosen = cut.kept.get(name)
        target = whole[name] if chosen is None else whole[name][:, torch.from_numpy(chosen)]
        dims = [0, *range(2, output.dim())]
        difference = (output - output.mean(dims, keepdim=True)) - (
            target - target.mean(dims, keepdim=True)
        )
        found[name] = float(difference.square().sum())
    return found


@pytest.mark.parametrize(("name", "size"), CASES)
def test_layers_give_more_nearly_what_they_gave_in_the_parent(
    traced: Traced, name: str, size: int
) -> None:
    space = traced(name, size)
    cut = Cut(space, halved(space))
    plain = deepcopy(cut.plain)
    gather(plain, cut.images)  # so that only the fit is compared
    before, after = errors(cut, plain), errors(cut, cut.refitted())
    last = list(before)[-1]
    assert after[last] < 0.9 * before[last]
    assert sum(after.values()) < 0.9 * sum(before.values())


@pytest.mark.parametrize(("name", "size"), CASES)
def test_each_convolution_and_linear_layer_is_fitted_but_no_depthwise_one_and_no_normalisation(
    traced: Traced, name: str, size: int
) -> None:
    space = traced(name, size)
    cut = Cut(space, halved(space))
    refitted = dict(cut.refitted().named_parameters())
    changed = {k for k, before in cut.plain.named_parameters() if not refitted[k].equal(before)}
    layers = {
        key: layer
        for key, layer in cut.plain.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and getattr(layer, "groups", 1) == 1
    }
    fitted = {f"{key}.weight" for key in layers}
    fitted |= {f"{key}.bias" for key, layer in layers.items() if layer.bias is not None}
    first = next(iter(refitted))  # reads what it read in the parent
    assert changed - {first} == fitted - {first}
    torch.testing.assert_close(refitted[first], cut.plain.get_parameter(first))


@pytest.mark.parametrize(("name", "size"), CASES)
def test_what_was_not_cut_is_left_as_it_is(traced: Traced, name: str, size: int) -> None:
    space = traced(name, size)
    cut = Cut(space, space.start.widths)
    assert cut.kept == {}
    refitted = cut.refitted()
    for key, before in cut.plain.named_parameters():
        change = (refitted.get_parameter(key) - before).norm()
        assert change < 0.05 * before.norm() + 0.02, key


def test_a_layer_before_every_cut_keeps_its_weights(traced: Traced) -> None:
    space = traced("cnn", 8)
    *first, last = space.start.widths
    cut = Cut(space, (*first, last // 2))
    assert set(cut.kept) >= {space.groups[-1].name}
    refitted = cut.refitted()
    for group in space.groups[:-1]:
        before = cut.plain.get_submodule(group.name).weight
        after = refitted.get_submodule(group.name).weight
        assert (after - before).norm() < 0.02 * before.norm()
    head = refitted.get_submodule("classifier").weight
    plain = cut.plain.get_submodule("classifier").weight
    assert (head - plain).norm() > 0.1 * plain.norm()


def test_a_linear_fit_is_the_ridge_regression_by_hand() -> None:
    generator = torch.Generator().manual_seed(1)
    read = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    layer, other = nn.Linear(4, 3), nn.Linear(4, 3)
    wanted = (read @ other.weight.double().T + other.bias.double()).detach()
    before = layer.weight.detach().double().clone()
    refit(layer, other, {}, read.float())
    centred, target = read - read.mean(0), wanted - wanted.mean(0)
    moments = centred.T @ centred
    ridge = module_of_refit.RIDGE * moments.trace() / 4
    change = torch.linalg.solve(
        moments + ridge * torch.eye(4, dtype=torch.float64),
        centred.T @ (target - centred @ before.T),
    )
    torch.testing.assert_close(layer.weight.double(), before + change.T, rtol=1e-4, atol=1e-4)
    bias = wanted.mean(0) - read.mean(0) @ layer.weight.detach().double().T
    torch.testing.assert_close(layer.bias.double(), bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.Conv2d(4, 6, 1, stride=2, bias=False),
        nn.Conv2d(4, 6, (1, 3), padding=(0, 1), bias=True),
        nn.Conv2d(4, 6, 3, dilation=2, padding=2, bias=False),
        nn.Linear(4, 6),
    ],
    ids=str,
)
@pytest.mark.parametrize("numbers", [4000, module_of_refit.NUMBERS])
def test_where_a_layer_can_give_what_is_wanted_it_comes_nearly_to_it(
    layer: nn.Module, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which places, a weight's columns, strides and paddings: one mistake, and nothing fits."""
    monkeypatch.setattr(module_of_refit, "RIDGE", 1e-9)
    monkeypatch.setattr(module_of_refit, "NUMBERS", numbers)
    generator = torch.Generator().manual_seed(2)
    n = module_of_refit.BATCH + 30
    for shape in [(n, 4), (n, 5, 4)] if isinstance(layer, nn.Linear) else [(n, 4, 9, 9)]:
        read = torch.randn(shape, generator=generator) + 1
        other = deepcopy(layer)
        with torch.no_grad():
            other.weight.copy_(torch.randn(other.weight.shape, generator=generator))
        refit(layer, other, {}, read)
        torch.testing.assert_close(layer.weight, other.weight, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(layer(read), other(read), rtol=1e-3, atol=1e-3)


class Twice(nn.Module):
    """One layer, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(self.layer(images).relu())


def test_a_layer_that_is_used_twice_is_fitted_to_its_first_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module_of_refit, "RIDGE", 1e-9)
    network, other = Twice(), Twice()
    refit(network, other, {}, torch.randn(200, 4, generator=torch.Generator().manual_seed(4)))
    torch.testing.assert_close(network.layer.weight, other.layer.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3)], ids=str)
def test_of_many_places_an_even_selection_is_read(
    layer: nn.Conv2d, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_refit, "NUMBERS", 4000)
    features, images = layer.weight[0].numel(), torch.randn(300, 3, 5, 7)
    every = module_of_refit._read(layer, images, 1)
    step = module_of_refit._step(len(every), features)
    read = module_of_refit._read(layer, images, step)
    assert torch.equal(read, every[::step])
    assert 4000 / 2 < read.numel() <= 4000 + features


def test_a_layer_that_reads_too_much_stays_as_it_is_cut(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = traced("cnn", 32)
    sizes = {
        name: layer.weight[0].numel()
        for name, layer in Cut(space, halved(space)).plain.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    limit = sorted(sizes.values())[1]
    monkeypatch.setattr(module_of_refit, "MAX_FEATURES", limit)
    cut = Cut(space, halved(space))
    refitted = cut.refitted()
    for name, size in sizes.items():
        same = torch.equal(
            refitted.get_submodule(name).weight, cut.plain.get_submodule(name).weight
        )
        assert same == (size > limit), name


def test_statistics_of_normalisation_are_those_of_the_images_and_momenta_are_given_back(
    traced: Traced,
) -> None:
    space = traced("cnn", 8)
    cut = Cut(space, halved(space))
    momenta = [n.momentum for n in cut.plain.modules() if isinstance(n, nn.BatchNorm2d)]
    refitted = cut.refitted()
    norms = [n for n in refitted.modules() if isinstance(n, nn.BatchNorm2d)]
    assert [norm.momentum for norm in norms] == momenta
    assert not any(module.training for module in (*refitted.modules(), *cut.parent.modules()))
    first = next(iter(outputs(refitted, cut.images).values()))
    torch.testing.assert_close(norms[0].running_mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_a_layer_that_reads_nothing_but_zeros_is_left_finite() -> None:
    layer, other = nn.Linear(4, 3), nn.Linear(4, 3)
    nn.init.ones_(other.bias)
    refit(layer, other, {}, torch.zeros(20, 4))
    assert torch.isfinite(layer.weight).all()
    torch.testing.assert_close(layer.bias, torch.ones(3))


def test_the_same_images_give_the_same_bits(traced: Traced) -> None:
    space = traced("mobilenet_v1", 32)
    one, two = (to_vector(Cut(space, halved(space)).refitted()) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_kept_outputs_name_every_layer_whose_outputs_were_cut(traced: Traced) -> None:
    space = traced("mobilenet_v1", 32)
    group = space.groups[1]
    found = kept_outputs(space, {group.name: np.array([0, 2])})
    producers = {name.removesuffix(".weight") for name in group.producers}
    assert producers < found.keys()  # and the depthwise layer that follows
    assert any("depthwise" in name and "norm" not in name for name in found)
    assert all(chosen.tolist() == [0, 2] for chosen in found.values())
    assert kept_outputs(space, {}) == {}
