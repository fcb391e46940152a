"""One rule says which files are the train and the test split, of a folder and of a bucket."""

import re

import pytest

from fednas.data import split_files
from fednas.errors import DataError

UUID = "0b6f4f9e-51c8-4b3f-9a55-3c1a0c1d2e3f"


def numbered(split, total, *, only=None, base=0, end=".parquet"):
    parts = range(base, base + total) if only is None else only
    return [f"{split}-{i:05d}-of-{total:05d}{end}" for i in parts]


@pytest.mark.parametrize(
    ("train", "test", "others"),
    [
        (["train.parquet"], ["test.parquet"], ["README.md", "validation.parquet", "sub/x.parquet"]),
        (numbered("train", 3), numbered("test", 1), ["dataset_info.json"]),
        (numbered("train", 2, base=1), [], []),
        (
            ["train-0-of-2-b42e1a3b1fa6ba6f.parquet", "train-1-of-2-0123456789012345.parquet"],
            [],
            [],
        ),
        (numbered("data/train", 1), numbered("data/test", 1), []),
        (["a/b/train.parquet"], ["c/test.parquet"], []),
        (
            numbered("train", 1, end="-b42e1a3b1fa6ba6f.parquet"),
            numbered("test", 1, end="-0000000000000001.parquet"),
            [],
        ),
        (["train_1.parquet", "train_2.parquet"], ["test10.parquet", "test9.parquet"], []),
        (
            ["default/train/0000.parquet", "default/train/0001.parquet"],
            ["default/test/0.parquet"],
            [],
        ),
        (
            [f"train.parquet/part-0000{i}-{UUID}-c000.snappy.parquet" for i in range(2)],
            ["test.parquet/part-0.parquet"],
            ["train.parquet/_SUCCESS", "train.parquet/.part-00000.crc", "train.parquet/"],
        ),
        (
            ["train.parquet"],
            [],
            [
                ".old/train.parquet",
                "_temporary/0/train.parquet",
                ".train.parquet",
                "_train.parquet",
            ],
        ),
    ],
    ids=[
        "plain",
        "numbered",
        "from-one",
        "fingerprints-that-differ",
        "hub",
        "folders",
        "fingerprints",
        "numbers",
        "converted",
        "spark",
        "hidden",
    ],
)
def test_what_is_one_set_a_split_is_read_in_order_of_names(train, test, others):
    splits = split_files([*others, *reversed(train), *test], "set")
    assert splits.train == tuple(train)
    assert splits.test == tuple(test)
    assert splits.names == (*train, *test)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train.parquet", "old/train.parquet"],
            "set: the train files are of 2 folders (old/train.parquet, train.parquet)",
        ),
        (
            ["train.parquet", "test.parquet", "a/test.parquet", "b/test.parquet"],
            "the test files are of 3 folders (a/test.parquet, b/test.parquet, test.parquet)",
        ),
        (
            ["train.parquet", "train/0000.parquet"],
            "the train files are of 2 folders (train.parquet, train/0000.parquet)",
        ),
        (
            [f"train.parquet/label={i}/part-0.parquet" for i in range(10)],
            "the train files are of 10 folders",
        ),
        (
            ["train.parquet", *numbered("train", 2)],
            "2 naming schemes (train-00000-of-00002.parquet, train.parquet)",
        ),
        (
            ["train.parquet", "train (1).parquet"],
            "2 naming schemes (train (1).parquet, train.parquet): a split must be one file",
        ),
        (
            [*numbered("train", 1), *numbered("train", 2)],
            "the train files are of 2 sets (train-00000-of-00001.parquet, train-00000-of-00002",
        ),
        (
            numbered("train", 3, only=[0, 2]),
            "1 of the 3 train files are missing: train-00001-of-00003.parquet; all of",
        ),
        (
            ["train.parquet", *numbered("d/test", 9, only=[0, 8])],
            "7 of the 9 test files are missing: d/test-00001-of-00009.parquet, "
            "d/test-00002-of-00009.parquet, d/test-00003-of-00009.parquet, "
            "d/test-00004-of-00009.parquet and 3 more",
        ),
        (
            numbered("train", 2, only=[1], end="-b42e1a3b1fa6ba6f.parquet"),
            "missing: train-00000-of-00002-*.parquet",
        ),
        (numbered("train", 2, only=[0, 7]), "train-00007-of-00002.parquet: there is no such part"),
        (
            ["train-0-of-1-b42e1a3b1fa6ba6f.parquet", "train-0-of-1-c42e1a3b1fa6ba6f.parquet"],
            "train-0-of-1-b42e1a3b1fa6ba6f.parquet and train-0-of-1-c42e1a3b1fa6ba6f.parquet are "
            "the same part",
        ),
        (
            ["train.parquet/", "test.parquet"],
            "train.parquet is a folder in which no *.parquet file can be found",
        ),
        (
            ["train.parquet", "test.parquet/part-00000", "test.parquet/_SUCCESS"],
            "test.parquet is a folder in which no *.parquet file",
        ),
        ([], "set: no train*.parquet there (found: nothing)"),
        (["a.txt", "test.parquet"], "no train*.parquet there (found: test.parquet, a.txt)"),
    ],
)
def test_what_may_be_two_sets_or_half_of_one_is_refused_by_name(names, message):
    with pytest.raises(DataError, match=re.escape(message)):
        split_files(names, "set")
