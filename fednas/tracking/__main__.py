"""The exporter's process: ``python -m fednas.tracking``, started by `fednas.tracking.Tracker`.

The first line on standard input is its configuration; the end of standard input tells it to go,
which also happens when its parent is killed. What it has done it says in lines of JSON on standard
output. Credentials come by the environment.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fednas.errors import Corrupt, FednasError
from fednas.store import Blobs, Journal, Store
from fednas.tracking._store import SQLITE, Hopeless, open_store

if TYPE_CHECKING:
    from fednas.tracking._exporter import Exporter

LONGEST_WAIT = 30.0
LAST_WORDS = 8.0
"""Seconds that the process may take to leave."""

HOPELESS = 3
"""Exit code when waiting mends nothing: no MLflow is installed, or only the user can mend it."""

_PORTS = {"http": 80, "https": 443}


def main() -> int:
    """Export until the search has ended or standard input has."""
    config = json.loads(sys.stdin.readline())
    closing = threading.Event()
    threading.Thread(target=_watch, args=(closing,), daemon=True).start()
    os.nice(5)  # the search comes first
    _quieten()
    try:
        if config["uri"].startswith(SQLITE):
            _enter(Path(config["uri"].removeprefix(SQLITE)).parent)
        if away := _knock(config["uri"]):
            _say({"error": away})
        exporter = _make(config, open_store(config["store"]))
        _export(exporter, closing, config["poll"])
    except ImportError as error:
        _say({"error": f"{error}; pip install 'fednas[train,tracking]'"})
        return HOPELESS
    except (Hopeless, Corrupt) as error:
        _say({"error": str(error)})
        return HOPELESS
    return 0


def _enter(folder: Path) -> None:
    """Work beside the database: MLflow may leave files where it works."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise Hopeless(f"{folder}: cannot hold MLflow's database: {error.strerror}") from None


def _knock(uri: str) -> str | None:
    """Why no server answers there: known before MLflow is imported, which takes seconds.

    Only told, never acted on: the exporter tries all the same.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
        if not host or not port or parts.scheme not in _PORTS:
            return None
        if parts.scheme in getproxies() and not proxy_bypass(host):
            return None
        socket.create_connection((host, port), timeout=1.0).close()
    except ValueError:
        return None  # it is no address, which is seen to where MLflow is asked
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None


def _make(config: dict[str, Any], store: Store) -> Exporter:
    from fednas.tracking._exporter import Exporter
    from fednas.tracking._run import SearchRun

    run = SearchRun(config["uri"], config["experiment"], config["name"], config["searchID"])
    journal, tables = Journal(store, config["journal"]), Blobs(store, config["updates"])
    return Exporter(journal, tables, run, report=_report)


def _export(exporter: Exporter, closing: threading.Event, poll: float) -> None:
    failures = 0
    while not exporter.finished:
        last = closing.is_set()
        if last and failures:
            return  # nobody waits for a server that is away
        error = _attempt(exporter, last)
        failures = failures + 1 if error else 0
        _report(exporter, error=error, finished=exporter.finished)
        if last:
            return
        longest = min(LONGEST_WAIT, poll * 2 ** min(failures, 10))
        closing.wait(longest * random.uniform(0.5, 1.0) if error else poll)  # noqa: S311 - jitter


def _attempt(exporter: Exporter, last: bool) -> str | None:
    """One step; what went wrong, in one line."""
    try:
        exporter.read()
        if last and exporter.run.run_id is None:
            return None  # too late to begin with MLflow
        exporter.step()
        if last:
            exporter.interrupt()
    except (ImportError, Hopeless, Corrupt):
        raise
    except Exception as error:  # whatever a client library raises for a dead server
        exporter.run.disconnect()
        return _one_line(error)
    return None


def _one_line(error: Exception) -> str:
    said = str(error).partition("Response body")[0]  # of whoever answers at that address
    text = " ".join(said.split()) or type(error).__name__
    kind = "" if isinstance(error, FednasError) else f"{type(error).__name__}: "
    return f"{kind}{text}"[:300]


def _watch(closing: threading.Event) -> None:
    sys.stdin.read()
    closing.set()
    timer = threading.Timer(LAST_WORDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _quieten() -> None:
    """Short waits for a server that hangs, no telemetry, nothing on standard output."""
    for key, value in {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
    }.items():
        os.environ.setdefault(key, value)


def _report(exporter: Exporter, **more: Any) -> None:
    _say(
        {
            "exported": exporter.exported,
            "pending": exporter.pending,
            "runID": exporter.run.run_id,
            **more,
        }
    )


def _say(message: dict[str, Any]) -> None:
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
