from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fednas.cli import app
from fednas.errors import BadInput
from fednas.store import MinioConfig
from tests.servers import Minio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "cifar10"
    for name in ("train-0.parquet", "sub/test-0.parquet", ".cache/secret"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    return root


def push(minio: Minio, path: Path, target: str, **changes: str) -> Result:
    return CliRunner(env={**minio.env, **changes}).invoke(app, ["push", str(path), target])


def test_a_folder_is_copied_below_the_prefix(
    minio: Minio, bucket: MinioConfig, folder: Path
) -> None:
    target = f"s3://{bucket.bucket}/datasets/cifar10"
    done = push(minio, folder, target)
    assert done.exit_code == 0, done.output
    assert f"2 sent, 0 there already: {target}" in done.stdout
    store = bucket.open()
    assert [entry.key for entry in store.list("")] == [
        "datasets/cifar10/sub/test-0.parquet",
        "datasets/cifar10/train-0.parquet",
    ]
    sent = store.get("datasets/cifar10/train-0.parquet")
    assert sent == (folder / "train-0.parquet").read_bytes()


def test_only_what_changed_is_sent_again(minio: Minio, bucket: MinioConfig, folder: Path) -> None:
    target = f"s3://{bucket.bucket}/d"
    push(minio, folder, target)
    (folder / "train-0.parquet").write_bytes(b"y" * 15000)
    assert "1 sent, 1 there already" in push(minio, folder, target).stdout
    assert bucket.open().get("d/train-0.parquet") == b"y" * 15000
    bucket.open().put("d/train-0.parquet", b"z" * 15000)
    assert "1 sent, 1 there already" in push(minio, folder, target).stdout


@pytest.mark.parametrize(
    ("target", "key"),
    [("/start.safetensors", "start.safetensors"), ("", "weights"), ("/a/", "a/weights")],
)
def test_a_file_gets_the_key_that_is_named(
    minio: Minio, bucket: MinioConfig, tmp_path: Path, target: str, key: str
) -> None:
    (tmp_path / "weights").write_bytes(b"w")
    done = push(minio, tmp_path / "weights", f"s3://{bucket.bucket}{target}")
    assert done.exit_code == 0, done.output
    assert bucket.open().get(key) == b"w"


def test_what_is_wrong_is_said(minio: Minio, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, target, changes, words in [
        (folder, "bucket/x", {}, "must be s3://"),
        (tmp_path / "nothing", "s3://bucket/x", {}, "no such file"),
        (tmp_path / "empty", "s3://bucket/x", {}, "no files in there"),
        (folder, "s3://bucket/x", {"AWS_ACCESS_KEY_ID": ""}, "set AWS_ACCESS_KEY_ID"),
        (folder, "s3://fednas/x", {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "refuses these cred"),
    ]:
        done = push(minio, path, target, **changes)
        assert done.exit_code != 0
        assert words in str(done.exception), done.exception


def test_a_key_is_all_behind_the_bucket_as_it_is_written(
    minio: Minio, bucket: MinioConfig, tmp_path: Path
) -> None:
    keys = ["k/run#1", "k/run#2", "k/a?b=c", "k/50%25 + more", "k/ü"]
    for number, key in enumerate(keys):
        (tmp_path / "file").write_bytes(b"%d" % number)
        assert push(minio, tmp_path / "file", f"s3://{bucket.bucket}/{key}").exit_code == 0
    store = bucket.open()
    assert [store.get(key) for key in keys] == [b"%d" % number for number in range(len(keys))]
    assert sorted(entry.key for entry in store.list("")) == sorted(keys)


@pytest.mark.parametrize(
    "target",
    [
        "s3://b/x",
        "s3://b kt/x",
        "s3://1.2.3.4/x",
        "s3://b?x/x",
        "s3://bucket/../x",
        "s3://bucket//x",
    ],
)
def test_what_no_server_could_take_is_bad_input(minio: Minio, folder: Path, target: str) -> None:
    done = push(minio, folder, target)
    assert isinstance(done.exception, BadInput)
    assert "\n" not in str(done.exception)


@pytest.mark.parametrize(
    "endpoint",
    ["http://h:99999", "http://[::1", "http://u:p@h", "http://h:abc", "http://h/path", "ftp://h"],
)
def test_an_endpoint_that_is_no_address_is_bad_input(
    minio: Minio, folder: Path, endpoint: str
) -> None:
    done = push(minio, folder, "s3://bucket/x", AWS_ENDPOINT_URL_S3=endpoint)
    assert isinstance(done.exception, BadInput)
    assert str(done.exception).startswith(f"endpoint: got {endpoint!r}; must be")
