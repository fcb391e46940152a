"""A network of one's own is found by name; whatever is wrong with it is one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fednas.errors import BadInput
from fednas.models import Architecture, build, initialise, start_architecture, to_vector

NETS = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, channels, classes, width):
        super().__init__(
            nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.PReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes),
        )
        self.scale = nn.Parameter(torch.rand(()))

def build(channels, size, classes, widths):
    (width,) = widths
    return Net(channels, classes, width)

class Later:
    def __call__(self, channels, size, classes, widths):
        return build(channels, size, classes, widths)

later = Later()
number = 3
def few(channels): ...
def keyword(channels, size, classes, *, widths): ...
def text(channels, size, classes, widths): return "a network"
def broken(channels, size, classes, widths): raise RuntimeError("no such\\nlayer")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which is in no path."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownpackage").mkdir()
    (tmp_path / "ownpackage" / "nets.py").write_text(NETS)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own"):
            del sys.modules[name]


def own(name: str, *widths: int) -> Architecture:
    return start_architecture(
        f"ownpackage.{name}", channels=3, size=8, classes=10, widths=widths or (6,)
    )


@pytest.mark.parametrize("function", ["build", "later"])
def test_it_is_built_from_the_current_folder_at_any_widths(function: str) -> None:
    module = build(own(f"nets:{function}", 5)).eval()
    assert type(module).__name__ == "Net"
    assert module[0].out_channels == 5
    assert module(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_the_width_multiplier_counts() -> None:
    arch = start_architecture(
        "ownpackage.nets:build", channels=3, size=8, classes=10, widths=(6,), width_multiplier=0.5
    )
    assert arch.widths == (3,)


def test_what_is_installed_is_found_before_the_current_folder(folder: Path) -> None:
    (folder / "json.py").write_text("raise RuntimeError('hidden')")
    build(own("nets:build"))
    assert sys.path[-1] == str(folder)
    assert sys.path.count(str(folder)) == 1


def test_its_first_weights_come_from_the_seed_and_from_how_it_was_built() -> None:
    arch = own("nets:build")
    vector = initialise(arch, 1)
    torch.manual_seed(9)
    np.testing.assert_array_equal(initialise(arch, 1), vector)
    module = build(arch, vector)
    np.testing.assert_array_equal(to_vector(module), vector)
    state = module.state_dict()
    assert (state["1.weight"] == 1).all()
    assert (state["2.weight"] == 0.25).all()
    assert (state["0.bias"] == 0).all()
    assert 0 < float(state["scale"]) < 1
    assert not np.array_equal(initialise(arch, 2), vector)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere:build", r"there is no module ownpackage.nowhere; must lie in the folder where"),
        ("nets:bild", r"ownpackage.nets has no bild; did you mean build\?"),
        ("nets:zzz", r"ownpackage.nets has no zzz; must name a function in it"),
        ("nets:number", r"is no function but int; must take \(channels, size, classes, widths\)"),
        ("nets:few", r"takes other arguments \(too many positional arguments\); must take"),
        ("nets:keyword", r"takes other arguments"),
        ("nets:text", r"gave str; must take .* and give an nn\.Module"),
        ("nets:broken", r"failed for \(3, 8, 10, \(6,\)\): RuntimeError: no such; must take"),
        ("needs:build", r"ownpackage.needs needs nowhere, which is not installed"),
        ("wrong:build", r"ownpackage.wrong cannot be imported \(SyntaxError: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, name: str, says: str) -> None:
    (folder / "ownpackage" / "needs.py").write_text("import nowhere.at.all")
    (folder / "ownpackage" / "wrong.py").write_text("def build(:")
    with pytest.raises(BadInput, match=rf"^spec\.model\.module: got 'ownpackage\.{name}'; {says}"):
        build(own(name))
    with pytest.raises(BadInput) as caught:
        build(own(name))
    assert "\n" not in str(caught.value)


def test_without_widths_it_is_no_network() -> None:
    with pytest.raises(BadInput, match=r"spec\.model\.args\.widths: missing"):
        start_architecture("ownpackage.nets:build", channels=3, size=8, classes=10)


def test_too_many_widths_are_a_network_that_fails() -> None:
    with pytest.raises(BadInput, match=r"failed for \(3, 8, 10, \(4, 4\)\): ValueError: too many"):
        build(own("nets:build", 4, 4))
