"""What DepGraph gets wrong, or our table cannot say, is left out with its reason."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from fednas.models import build
from fednas.space import Slice, Space
from fednas.space._check import probe_weights, why_not_cut
from fednas.space._coupling import find_couplings
from fednas.space._trace import prove

Traced = Callable[[str, int], Space]
SHAPE = (3, 6, 6)


class Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4, 3)
        self.linear = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x).relu().mean((2, 3)))


class Residual(nn.Module):
    """Two convolutions that must keep the same filters, as their outputs are added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, width, 3, padding=1)
        self.right = nn.Conv2d(3, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.left(x) + self.right(x)).relu()


class Normed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).relu()


class AcrossChannels(nn.Module):
    """Takes a mean over the channels, without a parameter that would show it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x - x.mean(1, keepdim=True)


class Concatenated(nn.Module):
    """Two convolutions side by side: each fills a part of what the next one reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, width // 2, 3, padding=1)
        self.right = nn.Conv2d(3, width - width // 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


def network(first: type[nn.Module]) -> Callable[[Sequence[int]], nn.Module]:
    def rebuild(widths: Sequence[int]) -> nn.Module:
        module = nn.Sequential(first(widths[0]), Head(widths[0]))
        module[1].conv = nn.Conv2d(widths[0], widths[1], 3)
        module[1].linear = nn.Linear(widths[1], 5)
        return module

    return rebuild


def test_added_branches_are_one_group_ranked_by_both():
    groups, left_out = prove([6, 4], network(Residual), SHAPE)
    assert left_out == ()
    assert groups[0].producers == ("0.left.weight", "0.right.weight")
    assert groups[0].name == "0.left"


def test_unsupported_layers_are_left_out_by_name():
    groups, left_out = prove([6, 4], network(Normed), SHAPE)
    assert [group.choice for group in groups] == [1]
    assert [(item.name, item.choice) for item in left_out] == [("0.conv", 0)]
    assert left_out[0].reason == "0.norm: GroupNorm layers are not cut"


def test_layers_that_mix_channels_are_found_by_their_logits():
    groups, left_out = prove([6, 4], network(AcrossChannels), SHAPE)
    assert [group.name for group in groups] == ["1.conv"]
    assert "masked and cut differ" in left_out[0].reason


def test_parts_of_a_dimension_are_left_out():
    module = network(Concatenated)([6, 4])
    layers = ["0.left", "0.right", "1.conv", "1.linear"]
    left, right, after = find_couplings(module, torch.zeros(1, *SHAPE), layers)
    assert after.problem is None
    assert right.problem == "1.conv: its filters are no equal runs of neighbouring positions"
    assert left.problem == "1.conv: it holds other filters too"


def test_finding_couplings_leaves_each_layers_mode():
    module = network(Residual)([6, 4])
    module[1].conv.eval()
    find_couplings(module, torch.zeros(1, *SHAPE), ["0.left", "0.right", "1.conv", "1.linear"])
    assert module.training
    assert not module[1].conv.training


@pytest.mark.parametrize("choice", [0, 3])
def test_a_table_that_misses_a_tensor_does_not_pass(traced: Traced, choice: int):
    space = traced("cnn", 32)
    widths = space.start.widths
    module = build(space.start)
    weights = probe_weights(module, seed=1)
    images = torch.ones(1, *SHAPE[:1], 32, 32, dtype=torch.float64)

    def reason(slices: Sequence[Slice]) -> str | None:
        group = space.groups[choice].model_copy(update={"slices": tuple(slices)})
        return why_not_cut(
            group, module, widths, lambda w: build(space.start.with_widths([*w])), weights, images
        )

    slices = space.groups[choice].slices
    assert reason(slices) is None
    for i, part in enumerate(slices):
        assert "is cut to" in (reason([*slices[:i], *slices[i + 1 :]]) or "")
        wrong = part.model_copy(update={"repeat": part.repeat * 2})
        with pytest.raises(IndexError):
            reason([*slices[:i], wrong, *slices[i + 1 :]])


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenet_v1", 32), ("mobilenet_v2", 32), ("resnet20", 16), ("cnn", 21)],
)
def test_probe_logits_depend_on_every_filter(traced: Traced, name: str, size: int):
    space = traced(name, size)
    module = build(space.start).double().eval()
    weights = {k: torch.from_numpy(w) for k, w in probe_weights(module, seed=0).items()}
    images = torch.randn(
        1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        whole = torch.func.functional_call(module, weights, (images,))
        for group in space.groups:
            for reader in (part.tensor for part in group.slices if part.dim == 1):
                silent = {**weights, reader: weights[reader].clone()}
                silent[reader][:, 1::3] = 0
                logits = torch.func.functional_call(module, silent, (images,))
                assert (logits - whole).abs().max() > 1e-4 * whole.abs().max(), reader
