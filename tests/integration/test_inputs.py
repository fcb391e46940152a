"""A coordinator reads data and start weights from S3 as `fednas run` reads them from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fednas.api import local_shards
from fednas.cli import app
from fednas.cli._inputs import bucket_inputs
from fednas.errors import DataError
from fednas.search import Inputs
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Blobs, FolderStore, Layout, MinioConfig
from tests.servers import Minio

EXAMPLES = Path(__file__).parents[2] / "examples"
LAYOUT = Layout("search")


def inputs(search: FederatedSearch, bucket: MinioConfig) -> Inputs:
    return bucket_inputs(search, bucket, bucket.open(), LAYOUT, "search")


def of_bucket(bucket: MinioConfig) -> FederatedSearch:
    where = f"s3://{bucket.bucket}"
    return load_spec(
        EXAMPLES / "cifar10.yaml",
        [f"data.source={where}/sample", f"model.initial.weights={where}/start/w.safetensors"],
    )


def test_a_data_set_in_s3_is_cut_as_the_folder_it_came_from(
    minio: Minio, bucket: MinioConfig, tmp_path: Path
) -> None:
    target = f"s3://{bucket.bucket}/sample"
    pushed = CliRunner(env=minio.env).invoke(app, ["push", str(EXAMPLES / "cifar10"), target])
    assert pushed.exit_code == 0, pushed.output
    search = of_bucket(bucket)
    shards = inputs(search, bucket).shards()
    local = local_shards(search, FolderStore(tmp_path), Layout(), EXAMPLES / "cifar10")
    assert shards == local
    client = shards.clients["phone-3"].shard
    assert Blobs(bucket.open(), LAYOUT.data).get(client)

    for entry in bucket.open().list("sample/"):
        bucket.open().delete(entry.key)
    assert inputs(search, bucket).shards() == shards, "a restart reads no data set again"


def test_start_weights_are_read_from_s3(bucket: MinioConfig) -> None:
    search = of_bucket(bucket)
    bucket.open().put("start/w.safetensors", b"weights")
    assert inputs(search, bucket).weights() == b"weights"


def test_what_is_not_in_the_bucket_is_named(bucket: MinioConfig) -> None:
    search = of_bucket(bucket)
    with pytest.raises(DataError, match=r"spec\.data\.source: s3://.*no parquet files there"):
        inputs(search, bucket).shards()
    with pytest.raises(DataError, match=r"spec\.model\.initial\.weights: s3://.*fednas push FILE"):
        inputs(search, bucket).weights()
