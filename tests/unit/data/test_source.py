import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fednas.data import load_dataset, source_digest
from fednas.errors import DataError


def test_digits_are_1437_train_and_360_test_images_of_ten_classes():
    digits = load_dataset("digits")
    assert digits.shape == (1, 8, 8)
    assert digits.images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.images.dtype == np.uint8
    assert digits.labels.dtype == np.int64
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert np.bincount(digits.labels).tolist() == [143, 146, 142, 146, 144, 145, 144, 143, 141, 143]


def test_importing_the_package_imports_neither_torch_nor_pyarrow_nor_pillow():
    code = "import sys, fednas.data; print(sorted({'torch', 'pyarrow', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_is_read_and_so_are_folders_below_it(tmp_path):
    images = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    below = tmp_path / "plain_text"
    below.mkdir()
    for name, rows in (("train-00000-of-00002", images[:2]), ("train-00001-of-00002", images[2:])):
        table = pa.table({"img": rows.tolist(), "label": [0, 1]})
        pq.write_table(table, below / f"{name}.parquet")
    dataset = load_dataset(tmp_path)
    assert np.array_equal(dataset.images[:, 0], images)
    assert dataset.labels.tolist() == [0, 1, 0, 1]
    assert len(dataset.test_images) == 0


def test_a_missing_folder_says_what_a_source_is(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; spec\.data\.source must be"):
        load_dataset(str(tmp_path / "nowhere"))


def test_a_folder_without_train_files_lists_what_it_holds(tmp_path):
    (tmp_path / "test.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"no train\*\.parquet .*found: test\.parquet"):
        load_dataset(tmp_path)


def test_a_folder_and_its_copy_in_memory_have_one_digest(tmp_path):
    files = {"train.parquet": b"a", "test.parquet": b"b"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "README.md").write_text("not data")
    assert source_digest(tmp_path) == source_digest(files)
    assert source_digest(files) != source_digest(files | {"test.parquet": b"c"})
    assert source_digest("digits") == source_digest("digits") != source_digest(files)


def test_names_are_part_of_the_digest_of_a_source():
    """They give the order of the files, and what was read is told by them."""
    one = source_digest({"train.parquet": b"a"})
    assert source_digest({"data/train.parquet": b"a"}) != one
    swapped = {"train-0-of-2.parquet": b"b", "train-1-of-2.parquet": b"a"}
    assert source_digest(swapped) != source_digest(dict(zip(swapped, (b"a", b"b"), strict=True)))


# --- folders as they come ------------------------------------------------------------------------


def write(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [[[value] * 2] * 2 for value in values]
    pq.write_table(pa.table({"img": images, "label": [v % 2 for v in values]}), path)


def values_of(source):
    return load_dataset(source).images[:, 0, 0, 0].tolist()


def test_two_folders_with_a_train_file_are_refused_by_name(tmp_path):
    write(tmp_path / "train.parquet", 0, 1)
    write(tmp_path / "old" / "train.parquet", 2, 3)
    for read in (load_dataset, source_digest):
        with pytest.raises(DataError, match=r"\(old/train\.parquet, train\.parquet\)"):
            read(tmp_path)


def test_a_folder_that_spark_wrote_is_read_as_the_split(tmp_path):
    for part in (0, 1):
        write(tmp_path / "train.parquet" / f"part-0000{part}.parquet", 2 * part, 2 * part + 1)
    write(tmp_path / "test.parquet" / "part-00000.parquet", 7)
    (tmp_path / "train.parquet" / "_SUCCESS").write_bytes(b"")
    (tmp_path / "train.parquet" / ".part-00000.parquet.crc").write_bytes(b"crc")
    dataset = load_dataset(tmp_path)
    assert values_of(tmp_path) == [0, 1, 2, 3]
    assert dataset.files == (
        "train.parquet/part-00000.parquet",
        "train.parquet/part-00001.parquet",
        "test.parquet/part-00000.parquet",
    )


def test_links_to_files_and_folders_are_followed_and_end(tmp_path):
    write(tmp_path / "blobs" / "0a1b", 4, 5)
    write(tmp_path / "elsewhere" / "test.parquet", 6)
    source = tmp_path / "set"
    (source / "data").mkdir(parents=True)
    (source / "data" / "train.parquet").symlink_to("../../blobs/0a1b")
    (source / "held-out").symlink_to(tmp_path / "elsewhere")
    (source / "data" / "round").symlink_to(source)
    assert values_of(source) == [4, 5]
    assert load_dataset(source).files == ("data/train.parquet", "held-out/test.parquet")
    (tmp_path / "link").symlink_to(source)
    assert source_digest(tmp_path / "link") == source_digest(source)


def test_a_name_that_is_no_unicode_can_be_told(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/train-\xff.parquet")
    write(tmp_path / "plain.parquet", 1, 2)
    os.rename(tmp_path / "plain.parquet", path)
    assert values_of(tmp_path) == [1, 2]
    assert load_dataset(tmp_path).files == ("train-\\xff.parquet",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, "File name too long; spec.data.source must be 'digits', a folder"),
        ("nul\0", "null byte"),
        ("train.parquet", "is a file; spec.data.source must name its folder"),
        ("dangling", "no such folder"),
        ("loop", "symbolic links"),
        ("empty", r"no train\*\.parquet there \(found: nothing\)"),
    ],
)
def test_what_is_no_folder_is_refused(tmp_path, name, message):
    write(tmp_path / "train.parquet", 1, 2)
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").mkdir()
    for read in (load_dataset, source_digest):
        with pytest.raises(DataError, match=message):
            read(str(tmp_path / name))
