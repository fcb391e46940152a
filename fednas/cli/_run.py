"""``fednas run``: a search on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fednas.cli._from_rung import advice, check_folder, rung_of, setting
from fednas.cli._options import Data, File, Set, Workers
from fednas.errors import BadInput, OtherSpec
from fednas.spec import FederatedSearch, load_spec

__all__ = ["run"]


def run(
    file: File,
    dir: Annotated[Path | None, typer.Option(help="The run folder; default: runs/<name>.")] = None,
    data: Data = None,
    set: Set = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TARGET",
            help="Start from a rung of another search: its run folder, or "
            "s3://bucket/ladder/<searchID>.",
        ),
    ] = None,
    rung: Annotated[
        int | None, typer.Option(min=0, help="With --from, which one; default: the last.")
    ] = None,
    workers: Workers = None,
    tracking: Annotated[
        str, typer.Option(help="MLflow's URI; default: SQLite beside the run folder; 'none'.")
    ] = "",
    accept_new_numerics: Annotated[
        bool, typer.Option(help="Go on although torch or the CPU differ from the beginning.")
    ] = False,
) -> None:
    """Run a search to its end, or go on with one that was interrupted."""
    if rung is not None and from_ is None:
        raise BadInput("--rung: is one of another search's; must come with --from TARGET")
    start = None if from_ is None else rung_of(from_, rung)
    search = load_spec(file, [*(set or ()), *([] if start is None else [setting(start)])])
    console = Console(stderr=True)
    for warning in search.spec.warnings():
        console.print(f"warning: {warning}", highlight=False)
    _say_what_is_ignored(search, console)

    from fednas import api
    from fednas.cli._progress import Watch
    from fednas.cli._screen import last_screen
    from fednas.result import Result

    folder = dir or api.default_folder(search)
    if start is not None:
        check_folder(folder, start)

    def finished(result: Result) -> None:
        typer.echo(last_screen(result))
        figure = folder / "ladder" / "figure.png"
        if figure.exists():
            typer.echo(f"figure: {figure}")

    try:
        with Watch(search, console, finished) as watch:
            api.run(
                search,
                dir=folder,
                data=data,
                workers=workers,
                tracking=None if tracking == "none" else tracking,
                on_event=watch,
                accept_new_numerics=accept_new_numerics,
            )
    except OtherSpec as error:
        raise BadInput(f"{error}{advice(folder)}") from None
    except KeyboardInterrupt:
        console.print(
            f"interrupted; nothing is lost: the same command goes on from {folder}",
            highlight=False,
        )
        raise typer.Exit(130) from None
    database = folder.parent / "mlflow.db"
    if not tracking and database.exists():
        typer.echo(f"MLflow: mlflow ui --backend-store-uri sqlite:///{database}")


def _say_what_is_ignored(search: FederatedSearch, console: Console) -> None:
    """Settings of a cluster mean nothing on one machine."""
    spec = search.spec
    given = [name for name in ("storage", "tracking") if getattr(spec, name) is not None]
    if any(device.resources.limits for device in spec.device_classes):
        given.append("resources")
    if given:
        console.print(f"on this machine these are ignored: {', '.join(given)}", highlight=False)
