"""What several commands take: each argument and option is told once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Data", "File", "Output", "Print", "Set", "Workers"]


class Output(StrEnum):
    """How to print."""

    TEXT = "text"
    JSON = "json"


File = Annotated[Path, typer.Argument(help="A FederatedSearch in YAML.")]
Data = Annotated[
    Path | None, typer.Option(help="A local copy of the data, in place of data.source.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a field below spec."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; default: one per core.")
]
Print = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
