"""Which layers a network is made of, and the table that is measured of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
import torch
from torch import nn

from fednas.resources import NETWORK, LatencyTable
from fednas.space import Space
from fednas.space._measure import build_operation, measure_latencies, random_widths
from fednas.space._operations import find_operations

Traced = Callable[[str, int], Space]


def test_mobilenet_is_a_stem_thirteen_pairs_and_a_classifier(traced: Traced) -> None:
    space = traced("mobilenet_v1", 32)
    kinds = [one.name for one in space.operations]
    pair = ["depthwise+batch_norm+relu", "conv+batch_norm+relu"]
    assert kinds == ["conv+batch_norm+relu", *(pair * 13), "linear"]
    assert [one.channels(space.start.widths) for one in space.operations[:4]] == [
        (3, 8),
        (8, 8),
        (8, 16),
        (16, 16),
    ]
    assert [(one.kernel, one.stride, one.size) for one in space.operations[:4]] == [
        (3, 1, 32),
        (3, 1, 32),
        (1, 1, 32),
        (3, 2, 32),
    ]


def test_channels_follow_the_widths(traced: Traced) -> None:
    space = traced("cnn", 32)
    assert [one.channels((3, 5, 6, 2)) for one in space.operations] == [
        (3, 3),
        (3, 5),
        (5, 6),
        (6, 2),
        (2 * 4, 10),
    ]


def test_other_normalisations_and_activations_are_heard() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.Hardswish(),
        nn.Conv2d(4, 4, 5, 2, padding=2, groups=4),
        nn.BatchNorm2d(4),
        nn.ReLU6(inplace=True),
        nn.Flatten(),
        nn.Linear(64, 2),
        nn.Sigmoid(),
    )
    found = find_operations(module, torch.zeros(1, 3, 8, 8), lambda name, dim: (1, ()))
    assert [one.key for one in found] == [
        ("conv+group_norm+hardswish", 3, 1, 8),
        ("depthwise+batch_norm+relu6", 5, 2, 8),
        ("linear+sigmoid", 1, 1, 1),
    ]
    for one in found:
        layer, images = build_operation(one.key, 4, 4)
        assert layer.eval()(images).shape[1] == 4


@pytest.mark.parametrize(("name", "size"), [("cnn", 8), ("mobilenet_v1", 32)])
def test_a_table_holds_every_layer_once_at_no_more_than_six_by_six_widths(
    traced: Traced, name: str, size: int
) -> None:
    space = traced(name, size)
    rows = measure_latencies(space, device="here", passes=1)
    points = Counter(
        (r.operation, r.kernel, r.stride, r.size, r.channels_in, r.channels_out) for r in rows
    )
    assert set(points.values()) == {1}
    widths = defaultdict(lambda: (set[int](), set[int]()))
    for row in rows:
        ins, outs = widths[row.operation, row.kernel, row.stride, row.size]
        ins.add(row.channels_in)
        outs.add(row.channels_out)
    assert all(len(ins) <= 6 and len(outs) <= 6 for ins, outs in widths.values())
    assert rows[-1].operation == NETWORK
    table = LatencyTable.of(rows, "here")
    assert table.missing(space.operations) is None
    assert table.milliseconds(space.operations, space.start.widths) > 0


def test_the_widths_reach_from_four_filters_to_the_whole_layer(traced: Traced) -> None:
    rows = measure_latencies(traced("cnn", 28), device="here", passes=1)
    second = [row for row in rows if (row.operation, row.size) == ("conv+batch_norm+relu", 14)]
    assert (min(r.channels_in for r in second), max(r.channels_in for r in second)) == (4, 8)
    first = [row for row in rows if (row.operation, row.size) == ("conv+batch_norm+relu", 28)]
    assert {row.channels_in for row in first} == {3}


def test_more_work_takes_longer() -> None:
    narrow, wide = (visit_of(channels) for channels in (8, 256))
    assert wide > 3 * narrow


def visit_of(channels: int) -> float:
    from fednas.space._measure import visit

    return min(visit(*build_operation(("conv", 3, 1, 16), channels, channels)) for _ in range(3))


def test_random_cuts_are_multiples_of_four_and_repeat(traced: Traced) -> None:
    space = traced("mobilenet_v1", 32)
    widths = random_widths(space, 3)
    assert widths == random_widths(space, 3) != random_widths(space, 4)
    assert all(w % 4 == 0 and w <= full for w, full in zip(widths, space.start.widths, strict=True))
