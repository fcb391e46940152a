"""``fednas measure-latency``: what each layer of a network takes on this device."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fednas.cli._options import Data, File, Set
from fednas.errors import BadInput
from fednas.spec import DeviceClass, FederatedSearch, load_spec

__all__ = ["measure_latency"]


def measure_latency(
    file: File,
    device_class: Annotated[
        str | None, typer.Option(help="The class of devices that this machine is of.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The table; default: the class's latencyTable, else latency.csv."),
    ] = None,
    passes: Annotated[
        int, typer.Option(min=1, help="Visits of each layer; more help on a busy machine.")
    ] = 9,
    data: Data = None,
    set: Set = None,
) -> None:
    """Time every distinct layer of the starting network on this machine, at a few widths each.

    Of one sample, by one thread. The machine may do other work meanwhile; the less, the better.
    """
    search = load_spec(file, set or ())
    device = None if device_class is None else _device(search, device_class)
    path = out or _path(device)
    if not path.parent.is_dir():
        raise BadInput(f"--out: {path}: no such folder: {path.parent}")

    import torch

    from fednas.local import local_network
    from fednas.resources import LatencyTable, write_latencies
    from fednas.space import measure_latencies, trace

    torch.set_num_threads(1)
    space = trace(local_network(search, data))
    columns = (TextColumn("measuring"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("")
        rows = measure_latencies(
            space,
            device=device.name if device else platform.processor() or platform.machine(),
            passes=passes,
            told=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    try:
        path.write_text(write_latencies(rows))
    except OSError as error:
        raise BadInput(f"--out: {path}: cannot be written: {error.strerror}") from None
    table = LatencyTable.of(rows, str(path))
    start = table.milliseconds(space.operations, space.start.widths)
    typer.echo(f"{path}: {len(rows)} rows; the starting network takes {start:.3f} ms by them")


def _device(search: FederatedSearch, name: str) -> DeviceClass:
    for device in search.spec.device_classes:
        if device.name == name:
            return device
    known = ", ".join(device.name for device in search.spec.device_classes)
    raise BadInput(f"--device-class: got {name!r}; must be one of {known}")


def _path(device: DeviceClass | None) -> Path:
    named = device.latency_table if device else None
    return Path("latency.csv" if named is None or named.startswith("s3:") else named)
