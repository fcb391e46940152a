"""The Grafana dashboard of the chart, held against what the code exports."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

import fednas.fleet._metrics
import fednas_operator.metrics
from fednas_operator import names
from tests.values import CHART

BOARD: dict[str, Any] = json.loads((CHART / "files/dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
EXPORTING = (fednas_operator.metrics.Metrics(), fednas.fleet._metrics.Metrics())
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_PROMETHEUS = {"le", "namespace", "instance", re.sub(r"\W", "_", names.SEARCH)}


def queries() -> list[str]:
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for variable in VARIABLES.values():
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert found is not None
            expressions.append(f"sum by ({found[2]}) ({found[1]})")
    return expressions


def exported() -> set[str]:
    """Names of series, as they stand in the body of ``/metrics``."""
    return {
        family.name + suffix
        for metrics in EXPORTING
        for family in metrics.registry.collect()
        for suffix in SUFFIXES[family.type]
    }


def labels() -> set[str]:
    """Those of the code, and those that Prometheus adds by the chart's PodMonitors."""
    counted = [metric for metrics in EXPORTING for metric in vars(metrics).values()]
    return OF_PROMETHEUS.union(*(getattr(metric, "_labelnames", ()) for metric in counted))


def names_in(query: str) -> tuple[set[str], set[str]]:
    """Series and labels."""
    matchers = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    groups = re.findall(r"\b(?:by|on) \((.*?)\)", query)
    bare = re.sub(r"\{.*?\}|\[.*?\]|\b(?:by|on) \(.*?\)|\band\b", "", query)
    series = re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare)
    return set(series), {*matchers, *(name for group in groups for name in group.split(", "))}


def test_how_a_query_is_taken_apart() -> None:
    query = (
        'histogram_quantile(0.5, sum by (le, b) (rate(x_bucket{c=~"$d",e="f"}[$g]))) and on (h) y'
    )
    assert names_in(query) == ({"x_bucket", "y"}, {"le", "b", "c", "e", "h"})


@pytest.mark.parametrize("query", queries())
def test_it_reads_only_what_the_code_exports(query: str) -> None:
    series, by = names_in(query)
    assert series
    assert series - exported() == set()
    assert by - labels() == set()
    assert set(re.findall(r"\$([a-z]\w*)", query)) <= VARIABLES.keys()


def test_the_label_that_tells_searches_apart_is_added_by_the_monitor() -> None:
    text = (CHART / "templates/monitors.yaml").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if "podTargetLabels" in line)
    assert yaml.safe_load(line) == {"podTargetLabels": [names.SEARCH]}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_title_a_unit_and_the_data_source_that_is_chosen(
    panel: dict[str, Any],
) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    assert all("datasource" not in target for target in panel["targets"])


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
