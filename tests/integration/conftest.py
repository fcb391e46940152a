"""Servers that integration tests share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from fednas.store import MinioConfig
from tests.servers import Minio, Mlflow, minio_server, mlflow_server


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """One MinIO for all tests that do not take it away."""
    with minio_server(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture
def bucket(minio: Minio) -> MinioConfig:
    """A bucket of the test's own."""
    config = MinioConfig(minio.endpoint, f"test-{secrets.token_hex(6)}", minio.user, minio.password)
    config.open().open_bucket()
    return config


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """One MLflow server for all tests that do not take it away."""
    pytest.importorskip("mlflow")
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server
