"""``fednas report``: the ladder, every decision with its evidence, the cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from fednas.cli._kubectl import Namespace, result_of
from fednas.cli._options import Output, Print
from fednas.cli._screen import last_screen
from fednas.space import resource

__all__ = ["report"]


def report(
    target: Annotated[
        str,
        typer.Argument(
            help="A run folder; s3://bucket/ladder/<searchID>; by -n, a search in a cluster."
        ),
    ],
    namespace: Namespace = None,
    output: Print = Output.TEXT,
) -> None:
    """Show what a search has come to."""
    from fednas.result import Result, open_target

    uri = target if namespace is None else result_of(namespace, target)
    result: Result = open_target(uri)
    if output is Output.JSON:
        typer.echo(json.dumps(_as_json(result), indent=2))
        return
    console = Console()
    console.print(_ladder(result), _decisions(result), sep="\n")
    console.print(*_sureness(result.view.leads), soft_wrap=True, highlight=False)
    console.print(*_privacy(result), soft_wrap=True, highlight=False)
    console.print(last_screen(result), soft_wrap=True, highlight=False)


def _as_json(result: Any) -> dict[str, Any]:
    end = result.view.end
    return {
        "name": result.search.metadata.name,
        "end": {"reason": end.reason, "message": end.message, "failed": end.failed}
        if end
        else None,
        "ladder": result.view.ladder_rows,
        "selected": {
            name: rung.rung if rung else None
            for name, rung in result.view.selected(result.search).items()
        },
        "decisions": result.view.decisions,
        "ledger": result.ledger.to_dict(),
        "privacy": result.view.privacy,
    }


def _ladder(result: Any) -> Table:
    ladder = result.view.ladder
    bounds = [result.search.spec.target.bound]
    bounds += [device.bound for device in result.search.spec.device_classes if device.bound]
    names = [*dict.fromkeys(["macs", "params", *(bound.resource for bound in bounds)])]
    table = Table(
        "rung",
        "accuracy",
        Column("thinned alike", no_wrap=True),
        "share",
        *(resource(name).label for name in names),
        "sha256",
        title="Ladder",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for rung in ladder:
        table.add_row(
            str(rung.rung),
            f"{rung.accuracy:.4f}",
            "" if rung.baseline_accuracy is None else f"{rung.baseline_accuracy:.4f}",
            f"{rung.share:.3f}",
            *(resource(name).words(rung.costs[name]) for name in names),
            rung.sha256[:12],
        )
    return table


def _decisions(result: Any) -> Table:
    view = result.view
    name = view.target.resource if view.start else "macs"
    by = "loss" if all(row["divergence"] is None for row in view.decisions) else "divergence"
    table = Table(
        "iter",
        Column("layer", no_wrap=True),
        "width",
        "accuracy",
        "loss" if by == "loss" else "KL",
        Column(resource(name).label, no_wrap=True),
        "rank",
        Column("outcome", no_wrap=True),
        *(["lead"] if view.leads else []),  # wide, so it is the first to be wrapped
        title="Decisions",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    for row in view.decisions:
        table.add_row(
            str(row["iteration"]),
            row["layer"],
            "" if row["widthAfter"] is None else f"{row['widthBefore']}->{row['widthAfter']}",
            f"{row['accuracy']:.4f}",
            "" if row[by] is None else f"{row[by]:.4f}",
            resource(name).words(row["cost"]),
            str(row["finalRank"] or row["rank"]),
            row["outcome"],
            *([_lead(row)] if view.leads else []),
            style={"winner": "bold", "kept": ""}.get(row["outcome"], "dim"),
        )
    return table


def _lead(row: Mapping[str, Any]) -> str:
    """Of a winner over the runner-up, with its standard error."""
    if row["lead"] is None:
        return ""
    return f"{row['lead']:+.4f} ±{row['standardError']:.4f}"


def _privacy(result: Any) -> list[str]:
    """What was spent of the promise to the clients."""
    spent = result.view.privacy
    if spent is None:
        return []
    times = "release" if spent["releases"] == 1 else "releases"
    lost = f", {spent['lost']} of all were lost" if spent["lost"] else ""
    return [
        f"privacy: epsilon {spent['epsilon']:.4g} of {spent['budget']:g} at delta "
        f"{spent['delta']:g}: a client is in up to {spent['releases']} {times}{lost}\n"
    ]


def _sureness(leads: Sequence[Any]) -> list[str]:
    """How many choices chance is unlikely to have made."""
    if not leads:
        return []
    sure = sum(lead.is_sure for lead in leads)
    return [
        f"{sure} of {len(leads)} winners lead the runner-up by more than two standard errors "
        "on the validation images\n"
    ]
