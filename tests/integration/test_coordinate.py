"""The coordinator as a program: what it shows when something is wrong, and how it stops."""

from __future__ import annotations

import hashlib
import json
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from fednas.store import MinioConfig
from tests.integration.test_network import Line
from tests.servers import Minio, end, free_port


@pytest.fixture
def line(tmp_path: Path, minio: Minio, bucket: MinioConfig) -> Line:
    return Line(tmp_path, minio, bucket)


def test_a_spec_that_cannot_be_read_is_a_failed_search(line: Line) -> None:
    with line:
        line.file.write_text(line.file.read_text().replace("iid", "idd") + "  seeed: 1\n")
        child = line.coordinator()
        status = line.wait(lambda status: True)
        assert (status["over"], status["failed"], status["reason"]) == (True, True, "InvalidSpec")
        assert "spec.seeed" in status["message"]
        assert end(child, signal.SIGTERM) == 0


def test_a_store_that_is_away_is_degraded_until_it_is_back(line: Line) -> None:
    away = Minio(line.folder / "minio", free_port())
    line.minio = away
    line.spec(storage={"endpoint": away.endpoint, "bucket": "fednas", "secretName": "unused"})
    with line:
        child = line.coordinator()
        status = line.wait(lambda status: status["degraded"] is not None)
        assert status["degraded"]["reason"] == "StoreUnreachable"
        assert not status["over"]
        with urllib.request.urlopen(f"{line.url}/readyz", timeout=5) as answer:
            assert answer.status == 200, "what is wrong can be read through a Service"
        away.start()
        try:
            line.wait(lambda status: status["status"]["phase"] == "Initializing")
            assert line.status()["degraded"] is None  # type: ignore[index]
            began = time.monotonic()
            assert end(child, signal.SIGTERM, wait=20) == 0
            assert time.monotonic() - began < 15
        finally:
            away.stop()


def test_refused_credentials_are_shown(line: Line) -> None:
    line.minio = Minio(line.minio.folder, line.minio.port, password="wrong-secret")
    with line:
        line.coordinator()
        status = line.wait(lambda status: status["degraded"] is not None)
        assert status["degraded"]["reason"] == "StoreError"
        assert "refuses these credentials" in status["degraded"]["message"]


def test_a_client_stops_at_once_when_told(line: Line) -> None:
    with line:
        child = line.client("phone", "phone-a")
        deadline = time.monotonic() + 60
        while "no answer" not in line.said() and time.monotonic() < deadline:
            time.sleep(0.1)
        began = time.monotonic()
        assert end(child, signal.SIGTERM, wait=20) == 0
        assert time.monotonic() - began < 15


def test_tokens_are_asked_for(line: Line) -> None:
    tokens = line.folder / "tokens.json"
    digest = hashlib.sha256(b"secret").hexdigest()
    tokens.write_text(json.dumps({"operator": digest, "class/phone": digest}))
    with line:
        line.coordinator("--tokens", str(tokens))
        line.token = "secret"
        assert not line.wait(lambda status: True)["over"]
        line.token = "other"
        assert line.status() is None


def test_a_mended_secret_has_the_program_start_anew(line: Line) -> None:
    folder = line.folder / "secret"
    folder.mkdir()
    wrong = {**line.minio.env, "AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (folder / name).write_text(wrong[name])
    with line:
        child = line.coordinator("--credentials", str(folder), env=wrong)
        status = line.wait(lambda status: status["degraded"] is not None)
        assert status["degraded"]["reason"] == "StoreError"
        (folder / "AWS_SECRET_ACCESS_KEY").write_text(line.minio.env["AWS_SECRET_ACCESS_KEY"])
        assert child.wait(timeout=30) == 0


def test_data_that_are_not_pushed_yet_are_waited_for(line: Line) -> None:
    bucket = line.bucket
    where = {"endpoint": bucket.endpoint, "bucket": bucket.bucket, "secretName": "unused"}
    line.spec(storage=where, data={"source": f"s3://{bucket.bucket}/later"})
    with line:
        line.coordinator()
        status = line.wait(lambda status: status["degraded"] is not None)
        assert status["degraded"]["reason"] == "ObjectNotFound"
        assert "fednas push" in status["degraded"]["message"]
        assert not status["over"]
