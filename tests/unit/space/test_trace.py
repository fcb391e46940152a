from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fednas.models import build, layout, start_architecture
from fednas.resources import count_macs, count_params
from fednas.space import Slice, Space, trace

Traced = Callable[[str, int], Space]

CASES = [
    ("mobilenet_v1", 32),
    ("mobilenet_v2", 32),
    ("resnet20", 16),
    ("cnn", 21),
    ("cnn", 8),
    ("cnn", 28),
]


def test_mobilenet_has_the_stem_and_every_pointwise(traced: Traced):
    space = traced("mobilenet_v1", 32)
    assert [group.name for group in space.groups] == [
        "stem.conv",
        *(f"block{i}.pointwise" for i in range(1, 14)),
    ]
    assert [group.choice for group in space.groups] == [*range(14)]
    assert tuple(group.width for group in space.groups) == space.start.widths
    assert space.left_out == ()


@pytest.mark.parametrize(("name", "size"), CASES)
def test_every_group_of_the_zoo_can_be_cut(traced: Traced, name: str, size: int):
    space = traced(name, size)
    assert space.left_out == ()
    assert tuple(group.width for group in space.groups) == space.start.widths


def test_a_stage_of_mobilenet_v2_is_one_group_and_every_expansion_its_own(traced: Traced):
    groups = {group.name: group for group in traced("mobilenet_v2", 32).groups}
    expansions = [f"blocks.{i}.expand" for i in range(1, 17)]
    stages = [f"blocks.{i}.project" for i in (0, 1, 3, 6, 10, 13, 16)]
    assert set(groups) == {"stem.conv", *expansions, *stages, "head"}
    assert groups["blocks.3.project"].producers == tuple(
        f"blocks.{i}.project.weight" for i in (3, 4, 5)
    )
    assert groups["blocks.4.expand"].producers == ("blocks.4.expand.weight",)


def test_what_resnet20_adds_is_cut_together(traced: Traced):
    groups = {group.name: group for group in traced("resnet20", 16).groups}
    inner = [f"blocks.{i}.conv1" for i in range(9)]
    assert set(groups) == {"stem.conv", "blocks.3.conv2", "blocks.6.conv2", *inner}
    assert groups["stem.conv"].producers == (
        "stem.conv.weight",
        *(f"blocks.{i}.conv2.weight" for i in range(3)),
    )
    assert groups["blocks.3.conv2"].producers == (
        "blocks.3.conv2.weight",
        "blocks.3.shortcut.weight",
        "blocks.4.conv2.weight",
        "blocks.5.conv2.weight",
    )


def test_depthwise_and_norms_are_cut_with_their_producer(traced: Traced):
    group = traced("mobilenet_v1", 32).groups[2]
    assert [(part.tensor, part.dim, part.repeat) for part in group.slices] == [
        ("block2.pointwise.weight", 0, 1),
        *((f"block2.pointwise_norm.{t}", 0, 1) for t in NORM),
        ("block3.depthwise.weight", 0, 1),
        *((f"block3.depthwise_norm.{t}", 0, 1) for t in NORM),
        ("block3.pointwise.weight", 1, 1),
    ]
    assert group.producers == ("block2.pointwise.weight",)


NORM = ["weight", "bias", "running_mean", "running_var"]


@pytest.mark.parametrize(("size", "repeat"), [(8, 1), (32, 4), (28, 4), (48, 9)])
def test_flattened_filters_repeat(traced: Traced, size: int, repeat: int):
    last = traced("cnn", size).groups[-1]
    assert last.slices[-1] == Slice(tensor="classifier.weight", dim=1, repeat=repeat)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_the_classifiers_output_is_never_cut(traced: Traced, name: str, size: int):
    for group in traced(name, size).groups:
        assert not [p for p in group.slices if p.tensor.startswith("classifier") and p.dim == 0]


@pytest.mark.parametrize(("name", "size"), CASES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_costs_are_exact_for_any_widths(traced: Traced, name: str, size: int, data: st.DataObject):
    space = traced(name, size)
    widths = data.draw(st.tuples(*(st.integers(1, w) for w in space.start.widths)))
    module = build(space.start.with_widths(widths))
    assert space.macs(widths) == count_macs(module, torch.zeros(1, 3, size, size))
    assert space.params(widths) == count_params(module)
    assert tuple(space.shapes(widths).items()) == layout(module)


def test_tracing_twice_gives_equal_bytes_that_read_back(traced: Traced):
    space = traced("cnn", 8)
    assert trace(space.start).to_json() == space.to_json()
    assert Space.from_json(space.to_json()) == space


def test_groups_of_one_filter_are_found():
    arch = start_architecture("mobilenet_v1", channels=1, size=8, classes=2, width_multiplier=0.25)
    arch = arch.with_widths([1] * 14)
    space = trace(arch)
    assert [group.width for group in space.groups] == [1] * 14
    assert space.params(arch.widths) == count_params(build(arch))
