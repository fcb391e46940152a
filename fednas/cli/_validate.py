"""``fednas validate``: is a file right? Needs neither torch nor a cluster."""

from __future__ import annotations

import typer

from fednas.cli._options import File, Set
from fednas.spec import load_spec

__all__ = ["validate"]


def validate(
    file: File,
    set: Set = None,
) -> None:
    """Check a file; every problem is named by its field."""
    search = load_spec(file, set or ())
    for warning in search.spec.warnings():
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{file}: {search.metadata.name} is valid")
