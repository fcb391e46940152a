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
