"""``fednas check``: what a search could cut of a file's network. Trains nothing, writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fednas.cli._options import Data, File, Output, Print, Set
from fednas.spec import FederatedSearch, load_spec

if TYPE_CHECKING:
    from fednas.space import Group, Space

__all__ = ["check"]


def check(
    file: File,
    data: Data = None,
    set: Set = None,
    output: Print = Output.TEXT,
) -> None:
    """Show which filters of the network can be cut together, and prove it by cutting each group.

    Each group is cut once, with random weights in float64: the logits must be those of the whole
    network in which nothing reads the same filters. MACs are those that grow with the group: what
    gives its filters and what reads them; so the groups' shares add up to more than 100 %.
    """
    search = load_spec(file, set or ())
    for warning in search.spec.warnings():
        typer.echo(f"warning: {warning}", err=True)
    found = _as_json(search, _space(search, data))
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console()
    console.print(_table(found))
    for left in found["leftOut"]:
        line = f"left out: {left['name']}, {left['filters']} filters: {left['reason']}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _space(search: FederatedSearch, data: Path | None) -> Space:
    from fednas.local import local_network
    from fednas.space import trace

    return trace(local_network(search, data))


def _as_json(search: FederatedSearch, space: Space) -> dict[str, Any]:
    start = space.start
    macs = space.macs(start.widths)
    return {
        "name": search.metadata.name,
        "network": start.family,
        "input": list(start.input_shape),
        "classes": start.classes,
        "macs": macs,
        "params": space.params(start.widths),
        "minBatchSize": space.min_batch,
        "groups": [
            {
                "name": group.name,
                "filters": group.width,
                "cutWith": _layers(space, group, dim=0),
                "readBy": _layers(space, group, dim=1),
                "macsShare": round(space.macs_terms.part(group.choice, start.widths) / macs, 4),
            }
            for group in space.groups
        ],
        "leftOut": [
            {"name": left.name, "filters": left.width, "reason": left.reason}
            for left in space.left_out
        ],
    }


def _layers(space: Space, group: Group, *, dim: int) -> list[str]:
    """The group's other layers that give its filters (dimension 0) or read them (1).

    Normalisation, whose tensors have one dimension, goes with its convolution unnamed.
    """
    shapes = dict(space.tensors)
    layers = (
        part.tensor.rpartition(".")[0]
        for part in group.slices
        if part.dim == dim and len(shapes[part.tensor]) > 1
    )
    return [layer for layer in layers if layer != group.name]


def _table(found: dict[str, Any]) -> Table:
    size = "x".join(map(str, found["input"]))
    table = Table(
        *("group", "filters", "cut with", "read by", "MACs"),
        title=f"{escape(found['network'])} on {size}, {found['classes']} classes: "
        f"{found['macs']:,} MACs, {found['params']:,} parameters",
    )
    for group in found["groups"]:
        table.add_row(
            group["name"],
            str(group["filters"]),
            _words(group["cutWith"]),
            _words(group["readBy"]),
            f"{100 * group['macsShare']:.1f} %",
        )
    return table


def _words(layers: Iterable[str]) -> str:
    return ", ".join(layers)
