from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fednas.search import View
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


@pytest.mark.parametrize("last", ["000/rung", "001/rung"])
def test_it_can_be_drawn_from_the_first_rung_on(view: View, last: str) -> None:
    assert view.start is not None
    until = view.records[last].time
    young = View(record for record in view.records.values() if record.time <= until)
    assert figure(young, search_of(view.start)).startswith(b"\x89PNG")
