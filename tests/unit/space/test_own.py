"""A network of one's own is searched, or refused in one line before anybody trains it."""

from __future__ import annotations

import pytest
import torch

from fednas.errors import BadInput
from fednas.models import Architecture, build, start_architecture
from fednas.resources import count_macs
from fednas.space import trace


def own(name: str, *widths: int) -> Architecture:
    return start_architecture(
        f"tests.unit.space.own:{name}", channels=3, size=8, classes=5, widths=widths
    )


@pytest.mark.parametrize("name", ["good", "mirrored"])
def test_its_groups_are_found_and_its_costs_are_those_of_any_widths(name: str) -> None:
    space = trace(own(name, 4, 6))
    assert [(group.name, group.width) for group in space.groups] == [("first", 4), ("second", 6)]
    assert space.left_out == ()
    narrow = build(space.start.with_widths((2, 5)))
    assert space.macs((2, 5)) == count_macs(narrow, torch.zeros(1, 3, 8, 8))


def test_a_group_that_cannot_be_cut_is_left_out_with_its_reason() -> None:
    space = trace(own("in_part", 4, 6))
    assert [group.name for group in space.groups] == ["second"]
    assert [(left.name, left.reason) for left in space.left_out] == [
        ("first", "between: GroupNorm layers are not cut")
    ]


@pytest.mark.parametrize(
    ("name", "widths", "says"),
    [
        (
            "in_reverse",
            (4, 6),
            r"args\.widths: got 4, 6; must be one for each group of the network, in forward order; "
            r"it has: first 6, second 4$",
        ),
        ("fixed", (4,), r"args\.widths: got 4; must be one .* it has: first 4, second 7$"),
        ("deaf", (4, 6), r"no group of its filters can be cut: first: .*; second: "),
        ("in_reverse", (4, 4), r"no group of its filters can be cut: first: .* is cut to "),
        (
            "images",
            (4,),
            r"answers \[2, 4, 8, 8\] to images \[2, 3, 8, 8\] in training; must be logits \[2, 5\]",
        ),
        ("hungry", (4,), r"cannot train on images \[2, 3, 8, 8\]: RuntimeError: mat1 and mat2"),
        ("frozen", (4, 6), r"cannot train on images .*: RuntimeError: element 0 of tensors does"),
        (
            "uncounted",
            (4, 6),
            r"at widths 4, 6 its layers add up to 20,766 MACs .* torch counts 20,791 .*; must "
            r"compute by nn\.Conv2d and nn\.Linear alone",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(
    name: str, widths: tuple[int, ...], says: str
) -> None:
    with pytest.raises(BadInput, match=rf"^spec\.model\..*{says}") as caught:
        trace(own(name, *widths))
    assert "\n" not in str(caught.value)
