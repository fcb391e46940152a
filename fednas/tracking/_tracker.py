"""The parent's handle on the exporter's process.

MLflow takes seconds to import and its client can hang on a server that does not answer, so nothing
of it runs where the search runs. The child reads the journal itself; parent and child share nothing
but two pipes, and a child that dies is started again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from fednas.store import Layout
from fednas.tracking._store import SQLITE, store_message

if TYPE_CHECKING:
    from fednas.store import MinioConfig

__all__ = ["Tracker"]

_HOPELESS = 3
_LONGEST_WAIT = 60.0


class Tracker:
    """Exports a search to MLflow in a process of its own, for as long as it is open.

    Nothing here raises or waits for MLflow, except `finish`, whose wait is bounded.

    Parameters
    ----------
    store : Path or MinioConfig
        The run folder, or the bucket.
    layout : Layout
        Where the journal lies in it.
    uri : str
        A tracking server, or ``sqlite:///`` and a path, whose folder then holds the artifacts too.
    experiment : str
        MLflow's experiment; created if absent.
    name : str
        Of the run: the search's.
    search_id : str
        By which the run is found again.
    poll : float
        Seconds between two looks at the journal.

    Attributes
    ----------
    pending : int
        Metrics in the journal that are not known to be in MLflow.
    run_id : str or None
        MLflow's, once the run exists.
    error : str or None
        Why the last attempt failed, in one line.
    hopeless : bool
        Waiting mends nothing: no MLflow is installed, or only the user can mend what `error` says.
    """

    def __init__(
        self,
        store: Path | MinioConfig,
        layout: Layout,
        uri: str,
        experiment: str,
        name: str,
        search_id: str,
        *,
        poll: float = 1.0,
    ) -> None:
        self.pending = 0
        self.exported = 0
        self.run_id: str | None = None
        self.error: str | None = None
        self._config = json.dumps(
            {
                "store": store_message(store),
                "journal": layout.journal,
                "updates": layout.updates,
                "uri": _absolute(uri),
                "experiment": experiment,
                "name": name,
                "searchID": search_id,
                "poll": poll,
            }
        )
        self._closing = threading.Event()
        self._finished = False
        self.hopeless = False
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._attend, name="fednas-tracking", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def undelivered(self) -> int:
        """`pending`, but at least 1 until the end of the search is in MLflow.

        0 also where nothing ever will be; `error` says why.
        """
        return 0 if self._finished or self.hopeless else max(1, self.pending)

    def finish(self, timeout: float) -> bool:
        """Wait until the end of the search is in MLflow; whether it is.

        Parameters
        ----------
        timeout : float
            Seconds.
        """
        self._over.wait(timeout)
        return self._finished

    def close(self, timeout: float = 10.0) -> None:
        """End the process; an unfinished run is marked ``KILLED`` in MLflow if that is quick.

        Parameters
        ----------
        timeout : float
            Seconds, after which it is killed.
        """
        with self._lock:
            self._closing.set()
            process = self._process
        if process is not None:
            _hang_up(process)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(timeout)

    # --- the thread ------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Keep a child running until it has finished, or is not wanted any more."""
        wait = 1.0
        while True:
            with self._lock:
                if self._closing.is_set():
                    break
                self._process = process = _start(self._config)
            with suppress(BrokenPipeError), process:
                self._listen(process.stdout)
            code = process.wait()
            self.hopeless = code == _HOPELESS
            if self._finished or self.hopeless:
                break
            self.error = f"the exporter died with exit code {code}; it is started again"
            if self._closing.wait(wait):
                break
            wait = min(_LONGEST_WAIT, 2 * wait)
        self._over.set()

    def _listen(self, lines: IO[str] | None) -> None:
        assert lines is not None
        for line in lines:
            try:
                said: dict[str, Any] = json.loads(line)
            except ValueError:
                continue  # something that a library printed
            self.pending = said.get("pending", self.pending)
            self.exported = said.get("exported", self.exported)
            self.run_id = said.get("runID") or self.run_id
            self.error = said.get("error", self.error)
            if said.get("finished"):
                self._finished = True
                self._over.set()


def _start(config: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "fednas.tracking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is the parent's to handle
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died already, which is seen to by its exit code
        process.stdin.write(config + "\n")
        process.stdin.flush()
    return process


def _hang_up(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _absolute(uri: str) -> str:
    """The child works in another folder, so that SQLite's MLflow leaves nothing in ours."""
    if not uri.startswith(SQLITE):
        return uri
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}"
