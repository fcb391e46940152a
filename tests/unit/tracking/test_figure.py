from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fednas.search import Recorded, View
from fednas.tracking import figure
from fednas.tracking._tables import search_of


def test_it_is_a_png_and_the_same_each_time(view: View) -> None:
    assert view.start is not None
    search = search_of(view.start)
    png = figure(view, search)
    assert png.startswith(b"\x89PNG")
    assert png == figure(view, search)


def test_it_is_an_svg_and_the_same_each_time(view: View) -> None:
    assert view.start is not None
    search = search_of(view.start)
    svg = figure(view, search, format="svg")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == figure(view, search, format="svg")


@pytest.mark.parametrize("rungs", [1, 2])
def test_it_can_be_drawn_from_the_first_rung_on(entries: list[Recorded], rungs: int) -> None:
    young = View()
    for one in entries:
        young.apply(one)
        if len(young.ladder) == rungs:
            break
    assert young.start is not None
    assert figure(young, search_of(young.start)).startswith(b"\x89PNG")


def test_it_shows_what_costs_nothing_and_what_was_trained(view: View) -> None:
    assert view.start is not None
    svg = figure(view, search_of(view.start), format="svg").decode()
    assert "thinned alike, no search" in svg
    assert "trained after the search (test)" in svg
