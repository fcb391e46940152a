"""Real servers for tests: each a process on loopback with a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binary(name: str) -> str:
    """The path of a server's program; skips the test where there is none, but not in CI."""
    found = shutil.which(name)
    if found is None:
        message = f"no {name} in the PATH"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def process(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends with the block; its output goes to ``log``."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield child
    finally:
        end(child)


def end(child: subprocess.Popen[bytes], *signals: int, wait: float = 5.0) -> int:
    """End a process: politely, then by force, with what it started."""
    for number in signals or (signal.SIGTERM,):
        if child.poll() is None:
            child.send_signal(number)
            try:
                child.wait(wait)
            except subprocess.TimeoutExpired:
                continue
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def wait_for(
    url: str, *, seconds: float = 90.0, child: Any = None, log: Path | None = None
) -> None:
    """Wait until a URL answers with 200."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if time.monotonic() > deadline or (child is not None and child.poll() is not None):
            said = log.read_text(errors="replace")[-2000:] if log and log.exists() else ""
            raise AssertionError(f"{url} did not answer; the server said:\n{said}")
        time.sleep(0.05)


@dataclass
class Minio:
    """A MinIO server; ``start`` and ``stop`` let a test take it away for a while."""

    folder: Path
    port: int
    user: str = "fednas"
    password: str = "fednas-secret"
    _child: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """What a client of it finds in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.user,
            "AWS_SECRET_ACCESS_KEY": self.password,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def start(self) -> None:
        program, log = binary("minio"), self.folder / "minio.log"
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}",
                 "--console-address", f"127.0.0.1:{free_port()}", str(self.folder / "data")],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "MINIO_ROOT_USER": self.user,
                    "MINIO_ROOT_PASSWORD": self.password,
                    "MINIO_UPDATE": "off",
                    "MINIO_CALLHOME_ENABLE": "off",
                },
            )  # fmt: skip
        wait_for(f"{self.endpoint}/minio/health/ready", child=self._child, log=log)

    def stop(self, *signals: int) -> None:
        if self._child is not None:
            end(self._child, *signals)
            self._child = None


@contextmanager
def minio_server(folder: Path) -> Iterator[Minio]:
    """A MinIO that lives as long as the block."""
    server = Minio(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Mlflow:
    """An MLflow server over SQLite; ``start`` and ``stop`` let a test take it away for a while."""

    folder: Path
    port: int
    _child: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "mlflow.log"
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
                 "--port", str(self.port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
                 "--artifacts-destination", str(self.folder / "artifacts")],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                # Without it the server starts nine more processes, for evaluations.
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )  # fmt: skip
        wait_for(f"{self.uri}/health", seconds=300, child=self._child, log=log)

    def stop(self, *signals: int) -> None:
        if self._child is not None:
            end(self._child, *signals)
            self._child = None


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Mlflow]:
    """An MLflow server that lives as long as the block."""
    server = Mlflow(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
