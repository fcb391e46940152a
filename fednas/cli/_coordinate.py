"""``fednas coordinate``: a search over remote clients and an S3 store."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from fednas.errors import BadInput

__all__ = ["coordinate"]

OWN_BYTES = 540 << 20
"""Of a coordinator beside its workers: itself 150 MB, the process that they are forked from 170,
the exporter to MLflow 220."""


def coordinate(
    file: Annotated[Path, typer.Argument(help="A FederatedSearch in YAML.", exists=True)],
    search_id: Annotated[
        str, typer.Option(help="Names its folders in the bucket; the same again goes on.")
    ],
    listen: Annotated[
        str,
        typer.Option(
            help="HOST:PORT for clients and the status; host *: all addresses; port 0: a free one."
        ),
    ] = "127.0.0.1:8080",
    tokens: Annotated[
        Path | None,
        typer.Option(help='JSON: {"operator": sha256 of a token, "class/NAME": ...}', exists=True),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes; default: what quota and memory hold."),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as a mounted "
            "Secret: ends, to be started anew, once they differ from the variables."
        ),
    ] = None,
    login: Annotated[
        Path | None,
        typer.Option(
            help="Folder with MLflow's variables as files, as a mounted Secret: looked at beside "
            "--credentials."
        ),
    ] = None,
    max_workers: Annotated[
        int | None, typer.Option(min=1, help="No more than so many, whatever the machine holds.")
    ] = None,
    accept_new_numerics: Annotated[
        bool, typer.Option(help="Go on although torch or the CPU differ from the beginning.")
    ] = False,
) -> None:
    """Run a search on remote clients, and serve its status until told to stop.

    The store is that of spec.storage, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. What is
    wrong with the search or the store is shown at /v1/status; the program does not end for it.
    """
    import structlog

    from fednas.cli._coordinator import Coordinator
    from fednas.cli._credentials import await_change
    from fednas.fleet import worker_count
    from fednas.fleet._logs import configure_logs

    known = None if tokens is None else _tokens(tokens)
    configure_logs(search=search_id)
    coordinator = Coordinator(
        file,
        search_id,
        listen=listen,
        tokens=known,
        workers=workers or worker_count(OWN_BYTES, most=max_workers),
        accept_new_numerics=accept_new_numerics,
    )

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    closed = threading.Event()

    def watch(folder: Path) -> None:
        if await_change(folder, os.environ, closed, login=login):
            structlog.get_logger("fednas.coordinator").info("new credentials: starting anew")
            os.kill(os.getpid(), signal.SIGTERM)

    if credentials is not None:
        threading.Thread(target=watch, args=(credentials,), daemon=True).start()
    try:
        coordinator.work()
        threading.Event().wait()
    finally:
        closed.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        coordinator.close()


def _tokens(path: Path) -> dict[str, str]:
    try:
        tokens = json.loads(path.read_bytes())
        for digest in tokens.values():
            if len(bytes.fromhex(digest)) != 32:
                raise ValueError("a digest has not 64 digits")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BadInput(
            f'--tokens {path}: must be JSON {{"role": "sha256 of its token"}}: {error}'
        ) from None
    return dict(tokens)
