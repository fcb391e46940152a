import hashlib

import numpy as np
import pytest

from fednas.data import Dataset, Shards, make_shards, open_rows, shards_key, split_rows
from fednas.errors import DataError
from fednas.spec import load_spec

SHAPE = (1, 2, 2)
SAMPLES = 600


def search(*overrides):
    return load_spec(
        {
            "apiVersion": "fednas.dev/v1alpha1",
            "kind": "FederatedSearch",
            "metadata": {"name": "shards"},
            "spec": {
                "model": {"name": "cnn", "initial": {"weights": "start.safetensors"}},
                "data": {"source": "digits"},
                "target": {"macs": {"share": 0.5}},
                "deviceClasses": [
                    {"name": "phone", "clients": 3},
                    {"name": "hub", "clients": 2},
                ],
            },
        },
        overrides,
    )


@pytest.fixture(scope="module")
def dataset():
    """Each image carries its own number, so that shards can be told apart."""
    numbers = np.arange(SAMPLES + 60, dtype="<u4")
    images = numbers.view(np.uint8).reshape(-1, *SHAPE)
    labels = (numbers % 10).astype(np.int64)
    return Dataset(images[:SAMPLES], labels[:SAMPLES], images[SAMPLES:], labels[SAMPLES:], 10)


class Blobs(dict):
    def put(self, data):
        digest = hashlib.sha256(data).hexdigest()
        self[digest] = data
        return digest

    def numbers(self, shard):
        rows = open_rows(self[shard.shard])
        images, labels = split_rows(rows, SHAPE)
        numbers = np.ascontiguousarray(images).reshape(-1, 4).view("<u4").ravel()
        assert len(numbers) == shard.samples
        assert np.array_equal(numbers % 10, labels)
        return set(numbers.tolist())


PARTITIONS = ["data.partition.iid={}", "data.partition.dirichlet.alpha=0.5"]


@pytest.mark.parametrize("partition", PARTITIONS)
def test_clients_and_validation_share_no_sample_and_miss_none(dataset, partition):
    blobs = Blobs()
    shards = make_shards(search(partition), dataset, blobs.put)
    assert list(shards.clients) == ["phone-0", "phone-1", "phone-2", "hub-0", "hub-1"]
    pieces = [blobs.numbers(shard) for shard in (*shards.clients.values(), shards.validation)]
    assert sum(map(len, pieces)) == SAMPLES
    assert set().union(*pieces) == set(range(SAMPLES))
    assert shards.validation.samples == 60
    assert blobs.numbers(shards.test) == set(range(SAMPLES, SAMPLES + 60))
    assert (shards.input, shards.classes) == (SHAPE, 10)


def test_calibration_is_at_most_256_samples_of_validation(dataset):
    blobs = Blobs()
    small = make_shards(search(), dataset, blobs.put)
    assert blobs.numbers(small.calibration) == blobs.numbers(small.validation)
    large = make_shards(search("data.evaluation.central.fraction=0.5"), dataset, blobs.put)
    assert large.calibration.samples == 256
    assert blobs.numbers(large.calibration) < blobs.numbers(large.validation)


def test_the_same_search_gives_the_same_shards_and_the_manifest_survives_json(dataset):
    first, second = (make_shards(search(), dataset, Blobs().put) for _ in range(2))
    assert first == second
    assert Shards.model_validate_json(first.model_dump_json()) == first
    assert len(first.digest) == 64


@pytest.mark.parametrize(
    "change", ["seed=1", PARTITIONS[1], "data.evaluation.central.fraction=0.2"]
)
def test_seed_partition_and_fraction_change_the_shards_and_their_key(dataset, change):
    before, after = search(), search(change)
    assert make_shards(before, dataset, Blobs().put).digest != (
        make_shards(after, dataset, Blobs().put).digest
    )
    assert shards_key(before, "a") != shards_key(after, "a")


def test_the_key_follows_the_data_and_not_what_is_done_with_it():
    assert shards_key(search(), "a") != shards_key(search(), "b")
    assert shards_key(search("data.columns.image=x"), "a") != shards_key(search(), "a")
    for same in ("training.epochs=2", "data.source=/elsewhere", "target.macs.share=0.4"):
        assert shards_key(search(same), "a") == shards_key(search(), "a")


def test_without_a_test_split_there_is_no_test_shard(dataset):
    bare = Dataset(dataset.images, dataset.labels, dataset.images[:0], dataset.labels[:0], 10)
    assert make_shards(search(), bare, Blobs().put).test is None


def test_too_few_samples_are_refused(dataset):
    for samples, message in ((11, "5 clients need"), (3, "too few to hold any out")):
        images, labels = dataset.images[:samples], dataset.labels[:samples]
        bare = Dataset(images, labels, images[:0], labels[:0], 10)
        with pytest.raises(DataError, match=message):
            make_shards(search(), bare, Blobs().put)
