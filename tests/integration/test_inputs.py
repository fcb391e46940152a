"""A coordinator reads data and start weights from S3 as `fednas run` reads them from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fednas.cli import app
from fednas.cli._inputs import bucket_files, bucket_inputs, whole_files
from fednas.data import load_dataset
from fednas.errors import DataError, NotFound
from fednas.local import local_shards, local_weights
from fednas.models import encode, start_architecture
from fednas.search import Inputs
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Blobs, FolderStore, Layout, MinioConfig, canonical_json
from tests.memory_store import MemoryStore
from tests.servers import Minio

EXAMPLES = Path(__file__).parents[2] / "examples"
LAYOUT = Layout("search")
MINIO = MinioConfig("http://127.0.0.1:9", "bucket", "access", "secret")  # nothing asks it


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


def test_images_in_class_folders_are_cut_as_the_folder_they_came_from(
    minio: Minio, bucket: MinioConfig, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (240, 8, 8), np.uint8)
    for number, image in enumerate(images):
        split = "test" if number % 5 == 4 else "train"
        path = tmp_path / "set" / split / ("cat", "small dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    target = f"s3://{bucket.bucket}/set"
    pushed = CliRunner(env=minio.env).invoke(app, ["push", str(tmp_path / "set"), target])
    assert f"240 sent, 0 there already: {target}" in pushed.stdout, pushed.output
    search = load_spec(EXAMPLES / "cifar10.yaml", [f"data.source={target}"])
    shards = inputs(search, bucket).shards()
    assert shards == local_shards(search, FolderStore(tmp_path), Layout(), tmp_path / "set")
    assert shards.summary().startswith("data: 4 folders, 192 training and 48 test rows of 1x8x8")
    assert shards.names == ("cat", "small dog")


def test_start_weights_are_read_from_s3(bucket: MinioConfig) -> None:
    search = of_bucket(bucket)
    vector = np.arange(6, dtype=np.float32)
    bucket.open().put("start/w.safetensors", encode(vector))
    assert np.array_equal(inputs(search, bucket).weights().vector({"a": (2, 3)}), vector)
    with pytest.raises(DataError, match=r"weights: s3://.*/start/w\.safetensors: holds 6 weights"):
        inputs(search, bucket).weights().vector({"a": (7,)})


def test_what_is_not_in_the_bucket_yet_is_named_and_ends_nothing(bucket: MinioConfig) -> None:
    search = of_bucket(bucket)
    with pytest.raises(NotFound, match=r"spec\.data\.source: s3://.*nothing is there yet"):
        inputs(search, bucket).shards()
    with pytest.raises(NotFound, match=r"spec\.model\.initial\.weights: s3://.*fednas push FILE"):
        inputs(search, bucket).weights()
    table = f"s3://{bucket.bucket}/phone.csv"
    with pytest.raises(NotFound, match=r"latencyTable: s3://.*/phone\.csv: .*fednas push FILE"):
        inputs(search, bucket).table("spec.deviceClasses[0].latencyTable", table)


def test_a_rung_in_a_bucket_brings_its_network_to_a_coordinator_and_to_a_laptop(
    minio: Minio, bucket: MinioConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = start_architecture("mobilenet_v1", channels=3, size=32, classes=10)
    rung = full.with_widths([max(1, width // 2) for width in full.widths])
    ladder = f"s3://{bucket.bucket}/ladder/first"
    row = {"rung": 4, "file": "rung-04.safetensors", "architecture": rung.model_dump()}
    bucket.open().put("ladder/first/ladder.json", canonical_json([row]))
    bucket.open().put("ladder/first/rung-04.safetensors", encode(np.ones(3, np.float32)))
    search = load_spec(
        EXAMPLES / "cifar10.yaml", [f"model.initial.weights={ladder}/rung-04.safetensors"]
    )
    assert inputs(search, bucket).weights().network(full) == rung
    for name, value in minio.env.items():
        monkeypatch.setenv(name, value)
    assert local_weights(search).network(full) == rung
    gone = load_spec(
        EXAMPLES / "cifar10.yaml", [f"model.initial.weights={ladder}/rung-05.safetensors"]
    )
    with pytest.raises(DataError, match=r"rung-05\.safetensors: no such object"):
        local_weights(gone)


@pytest.mark.parametrize(
    "names",
    [
        ["train.parquet", "old/train.parquet"],
        ["train.parquet", "train-00000-of-00001.parquet"],
        ["train-00000-of-00002.parquet"],
    ],
    ids=["folders", "schemes", "missing"],
)
def test_what_a_folder_is_refused_for_a_bucket_is_refused_for(
    names: list[str], tmp_path: Path
) -> None:
    bucket, folder = MemoryStore(), tmp_path / "set"
    for name in names:
        bucket.put(f"set/{name}", b"")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError) as of_bucket:
        bucket_files(bucket, "set", "s3://bucket/set")
    with pytest.raises(DataError) as of_folder:
        load_dataset(folder)
    assert names[0] in str(of_bucket.value) or "missing" in str(of_bucket.value)
    assert str(of_bucket.value).replace("s3://bucket/set", str(folder)) == str(of_folder.value)


def test_a_data_set_that_comes_late_is_read_once_it_is_all_there() -> None:
    bucket, uri, awaited, pauses = MemoryStore(), "s3://bucket/set", set[str](), []

    def look(*comes: str) -> dict[str, bytes]:
        def pause() -> None:
            pauses.append(comes)
            for key in comes:
                bucket.put(key, b"x")

        return whole_files(bucket, "set", uri, awaited, pause)

    with pytest.raises(NotFound, match="nothing is there yet"):
        look()
    assert not pauses
    bucket.put("set/train-00000-of-00002.parquet", b"x")
    with pytest.raises(NotFound, match="still being written"):
        look("set/train-00001-of-00002.parquet")
    with pytest.raises(NotFound, match="still being written"):
        look("set/test.parquet")
    assert len(look()) == 3


def test_half_a_data_set_waits_while_it_grows_and_is_refused_when_it_does_not() -> None:
    bucket, uri = MemoryStore(), "s3://bucket/set"
    bucket.put("set/train-00000-of-00002.parquet", b"x")
    with pytest.raises(DataError):
        whole_files(bucket, "set", uri, set(), lambda: None)
    with pytest.raises(NotFound, match="still being written"):
        whole_files(bucket, "set", uri, set(), lambda: bucket.put("set/x", b"x"))


def test_a_data_set_that_was_there_is_read_without_a_pause() -> None:
    bucket = MemoryStore()
    bucket.put("set/train.parquet", b"x")

    def pause() -> None:
        raise AssertionError("nobody waits for it")

    assert list(whole_files(bucket, "set", "s3://bucket/set", set(), pause)) == ["train.parquet"]


def test_only_the_files_of_the_data_set_are_fetched_from_a_bucket() -> None:
    bucket = MemoryStore()
    for key in ("set/", "set/data/train.parquet", "set/_SUCCESS", "set/README.md", "settle/x"):
        bucket.put(key, key.encode())
    bucket.put("set/test.parquet", b"test")
    assert bucket_files(bucket, "set", "s3://bucket/set") == {
        "data/train.parquet": b"set/data/train.parquet",
        "test.parquet": b"test",
    }


def test_a_manifest_of_an_earlier_version_is_not_read(tmp_path: Path) -> None:
    search = load_spec(EXAMPLES / "small.yaml")
    store = MemoryStore()
    read = bucket_inputs(search, MINIO, store, LAYOUT, "search").shards
    made = read()
    for entry in store.list(LAYOUT.data):
        if entry.key.endswith(".json"):
            store.put(entry.key, store.get(entry.key).replace(b'"version":2', b'"version":1'))
    assert read() == made
