"""A store behind a private authority, asked with temporary credentials: a real MinIO over TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from minio.credentials import AssumeRoleProvider

from fednas.errors import StoreError, StoreUnreachable
from fednas.store import MinioConfig
from fednas.store._pool import open_pool
from tests.servers import binary, free_port, process

USER, PASSWORD = "fednas", "fednas-secret"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([binary("openssl"), *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, and in ``server`` what it signed for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "server").mkdir()
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        folder,
        *(*new, "-x509", "-subj", "/CN=private", "-keyout", "ca.key", "-out", "ca.crt"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    openssl(folder, *new, "-subj", "/CN=s3", "-keyout", "server/private.key", "-out", "s3.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        folder,
        *("x509", "-req", "-in", "s3.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-extfile", "names", "-out", "server/public.crt"),
    )
    return folder


@pytest.fixture(scope="module")
def private(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioConfig]:
    """Of a server that only ``certificates/ca.crt`` vouches for."""
    folder = tmp_path_factory.mktemp("minio")
    port = free_port()
    command = [
        *(binary("minio"), "server", "--quiet", "--certs-dir", str(certificates / "server")),
        *("--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{free_port()}"),
        str(folder / "data"),
    ]
    env = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_UPDATE": "off"}
    config = MinioConfig(f"https://127.0.0.1:{port}", "private", USER, PASSWORD, patience=60.0)
    with process(command, folder / "log", env), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))
        config.open().open_bucket()
        yield config


def test_a_private_authority_is_trusted_by_a_file_in_the_environment(
    private: MinioConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = private.open()
    store.put("key", b"bytes")
    assert store.get("key") == b"bytes"
    # As a client program does, which has a presigned URL and no credentials.
    assert httpx.get(store.presigned_get("key")).content == b"bytes"
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StoreUnreachable, match="SSL_CERT_FILE names a file"):
        replace(private, patience=0.0).open().get("key")


def test_temporary_credentials_reach_the_store_with_their_session_token(
    private: MinioConfig,
) -> None:
    http = open_pool(private.endpoint, connect_timeout=3, read_timeout=15)
    found = AssumeRoleProvider(
        sts_endpoint=private.endpoint, access_key=USER, secret_key=PASSWORD, http_client=http
    ).retrieve()
    assert found.session_token
    temporary = replace(private, access_key=found.access_key, secret_key=found.secret_key)
    with pytest.raises(StoreError):
        temporary.open().get("key")
    store = replace(temporary, session_token=found.session_token).open()
    store.open_bucket()
    store.put("temporary", b"bytes")
    assert httpx.get(store.presigned_get("temporary")).content == b"bytes"
    post = store.presigned_post("posted", 100)
    answer = httpx.post(post.url, data=post.fields, files={"file": b"update"})
    assert answer.status_code in (200, 204), answer.text
    assert store.get("posted") == b"update"


def test_the_environment_gives_the_session_token_beside_the_keys(private: MinioConfig) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "AWS_ENDPOINT_URL_S3": private.endpoint,
    }
    config = MinioConfig.from_uri("s3://private/x", env=env)
    assert config.session_token == "c"
    assert "'c'" not in repr(config)
