"""``fednas client``: work for a coordinator."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fednas.errors import BadInput

__all__ = ["client"]

OWN_BYTES = 180 << 20
"""Of a client beside its workers: the program 50 MB, the process that they are forked from 120."""


def client(
    coordinator: Annotated[str, typer.Option(help="http://host:port of the coordinator.")],
    device_class: Annotated[str, typer.Option(help="Serve any client of this device class.")],
    exit_when_over: Annotated[
        bool, typer.Option(help="End with code 0 when the search is over; default: wait idle.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep fetched blobs in this folder; default: a temporary one."),
    ] = None,
    cache_mib: Annotated[int, typer.Option(min=16, help="At most so many MiB of them.")] = 1024,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Worker processes; default: what quota and memory hold."
        ),
    ] = None,
    max_workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="No more than so many, whatever the machine holds."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of this program, kept over restarts; default: HOST-PID.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="FEDNAS_TOKEN", help="The class's token.", show_default=False),
    ] = None,
) -> None:
    """Do the tasks of one device class until told to stop; needs no credentials of the store."""
    if not coordinator.startswith(("http://", "https://")):
        raise BadInput(
            f"--coordinator: got {coordinator!r}; must be a URL such as http://host:8080"
        )
    from fednas.fleet import worker_count
    from fednas.fleet._cache import FileCache
    from fednas.fleet._client import Client
    from fednas.fleet._connection import Connection
    from fednas.fleet._logs import configure_logs

    own_name = name or f"{socket.gethostname()}-{os.getpid()}"
    configure_logs(client=own_name, deviceClass=device_class)
    folder = cache or Path(tempfile.mkdtemp(prefix="fednas-client-"))
    try:
        try:
            program = Client(
                Connection(coordinator.rstrip("/"), token=token),
                FileCache(folder, cache_mib << 20),
                device_class=device_class,
                name=own_name,
                workers=workers or worker_count(OWN_BYTES, most=max_workers),
                exit_when_over=exit_when_over,
            )
        except ValidationError as error:
            raise BadInput(
                f"--device-class {device_class!r} or --name {own_name!r}: {error}"
            ) from None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: program.stop())
        program.run()
    finally:
        if cache is None:
            shutil.rmtree(folder, ignore_errors=True)
