import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fednas.data import (
    Dataset,
    Shards,
    load_dataset,
    make_shards,
    open_rows,
    shards_key,
    split_rows,
)
from fednas.errors import DataError
from fednas.spec import load_spec

SHAPE = (1, 2, 2)
SAMPLES = 600
TEN = tuple(range(10))


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
    return Dataset(
        images[:SAMPLES],
        labels[:SAMPLES],
        images[SAMPLES:],
        labels[SAMPLES:],
        TEN,
        values=np.arange(SAMPLES) // 7,
    )


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


PARTITIONS = [
    "data.partition.iid={}",
    "data.partition.dirichlet.alpha=0.5",
    "data.partition.shards.perClient=2",
    "data.partition.column.name=user",
    "data.partition.quantitySkew.alpha=0.5",
]


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


def test_the_rows_of_one_value_go_to_one_client_or_to_validation(dataset):
    blobs = Blobs()
    shards = make_shards(search("data.partition.column.name=user"), dataset, blobs.put)
    held = [{number // 7 for number in blobs.numbers(shard)} for shard in shards.clients.values()]
    assert sum(map(len, held)) == len(set().union(*held)) > 80


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
    "change", ["seed=1", *PARTITIONS[1:], "data.evaluation.central.fraction=0.2"]
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
    for same in (
        "training.epochs=2",
        "data.augment=[flip]",
        "data.normalize={mean: [0], std: [1]}",
    ):
        assert shards_key(search(same), "a") == shards_key(search(), "a")
    for same in ("data.source=/elsewhere", "target.macs.share=0.4"):
        assert shards_key(search(same), "a") == shards_key(search(), "a")


def test_without_a_test_split_there_is_no_test_shard(dataset):
    bare = Dataset(dataset.images, dataset.labels, dataset.images[:0], dataset.labels[:0], TEN)
    assert make_shards(search(), bare, Blobs().put).test is None


def test_too_few_samples_are_refused(dataset):
    for samples, message in ((11, "5 clients need"), (3, "too few to hold any out")):
        images, labels = dataset.images[:samples], dataset.labels[:samples]
        bare = Dataset(images, labels, images[:0], labels[:0], TEN)
        with pytest.raises(DataError, match=message):
            make_shards(search(), bare, Blobs().put)


# --- what is said of the data at the start -------------------------------------------------------

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_summary_says_files_rows_size_and_classes(dataset):
    named = replace(dataset, files=("a/train.parquet", "a/test.parquet"))
    shards = make_shards(search(), named, Blobs().put)
    assert shards.files == ("a/train.parquet", "a/test.parquet")
    assert shards.summary() == (
        "data: 2 files (a/train.parquet, a/test.parquet), 600 training and 60 test rows of 1x2x2, "
        "10 classes"
    )
    many = replace(
        dataset,
        files=tuple(f"train-{i}.parquet" for i in range(12)),
        test_images=dataset.images[:0],
        test_labels=dataset.labels[:0],
    )
    assert make_shards(search(), many, Blobs().put).summary() == (
        "data: 12 files, 600 training and no test rows of 1x2x2, 10 classes"
    )
    digits = make_shards(search(), load_dataset("digits"), Blobs().put)
    assert digits.summary() == (
        "data: the built-in digits, 1437 training and 360 test rows of 1x8x8, 10 classes"
    )
    assert digits.warnings() == ()


def test_the_majority_is_the_share_of_the_most_frequent_class_in_validation(dataset):
    labels = np.where(np.arange(SAMPLES) % 3 == 0, 1, 0)
    labels[:6] = range(2, 8)
    blobs = Blobs()
    shards = make_shards(search(), replace(dataset, labels=labels), blobs.put)
    _, held_out = split_rows(open_rows(blobs[shards.validation.shard]), SHAPE)
    assert shards.majority == np.mean(held_out == 0)
    assert 0.5 < shards.majority < 0.8


def test_labels_that_became_classes_are_told(dataset):
    shifted = replace(dataset, labels_present=(-3, *range(1, 9), 2**62))
    shards = make_shards(search(), shifted, Blobs().put)
    assert shards.labels == (-3, *range(1, 9), 2**62)
    assert shards.warnings() == (
        "data: the labels are -3, 1, 2, 3, 4, ..., 4611686018427387904; they became the classes "
        "0..9 in this order",
    )
    assert Shards.model_validate_json(shards.model_dump_json()) == shards


def test_labels_without_training_rows_are_told(dataset):
    test_labels = dataset.test_labels.copy()
    test_labels[0], test_labels[1] = 10, 11
    more = replace(dataset, test_labels=test_labels, labels_present=tuple(range(12)))
    shards = make_shards(search(), more, Blobs().put)
    assert shards.test_only == (10, 11)
    assert shards.warnings() == (
        "data: no training row has the labels 10, 11 of the test rows: no client can learn what "
        "it never sees",
    )


def test_classes_with_names_are_told_by_them(dataset):
    names = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
    folders = tuple(f"{split}/{name}/" for split in ("train", "test") for name in names)
    named = replace(dataset, names=names, files=folders)
    shards = make_shards(search(), named, Blobs().put)
    assert shards.summary() == (
        "data: 20 folders, 600 training and 60 test rows of 1x2x2, "
        "10 classes (ant, bee, cat, dog, eel, ..., jay)"
    )
    assert shards.warnings() == ()
    assert shards.digest == make_shards(search(), dataset, Blobs().put).digest
    without = replace(named, labels=np.where(dataset.labels == 3, 0, dataset.labels))
    assert make_shards(search(), without, Blobs().put).warnings() == (
        "data: no training row has the label dog of the test rows: no client can learn what it "
        "never sees",
    )


def test_the_digest_is_of_the_content_and_not_of_the_names_of_files(dataset):
    made = make_shards(search(), dataset, Blobs().put)
    renamed = make_shards(search(), replace(dataset, files=("moved/train.parquet",)), Blobs().put)
    assert renamed.digest == made.digest
    other = make_shards(search(), replace(dataset, labels_present=tuple(range(1, 11))), Blobs().put)
    assert other.digest != made.digest


# Of the code before labels were mapped: searches that were begun then must go on.
BEFORE = {
    "small.yaml": "6b5921b3694eee7ee8765a9d422159221cc18fa775ea8b82d7c96ca73d84425e",
    "cifar10.yaml": "f41aac56f69b110e74c3739e9a32f796d86a77a964437b55c1a21f93dedb92d5",
}


@pytest.mark.parametrize("name", BEFORE)
def test_the_examples_are_cut_as_ever(name):
    example = load_spec(EXAMPLES / name)
    source = example.spec.data.source
    data = load_dataset(source if source == "digits" else EXAMPLES / "cifar10")
    assert make_shards(example, data, Blobs().put).digest == BEFORE[name]
