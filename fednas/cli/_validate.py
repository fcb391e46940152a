"""``fednas validate``: is a file right? Needs neither torch nor a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fednas.spec import load_spec

__all__ = ["validate"]


def validate(
    file: Annotated[Path, typer.Argument(help="A FederatedSearch in YAML.")],
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a field below spec."),
    ] = None,
) -> None:
    """Check a file; every problem is named by its field."""
    search = load_spec(file, set or ())
    for warning in search.spec.warnings():
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{file}: {search.metadata.name} is valid")
