import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fednas.data import encode_rows, open_rows, split_rows
from fednas.errors import Corrupt

IMAGES = arrays.arrays(
    np.uint8, st.tuples(*(st.integers(1, 5) for _ in range(4))), elements=st.integers(0, 255)
)


@given(IMAGES, st.integers(0, 65535))
def test_rows_give_back_images_and_labels(images, label):
    labels = np.full(len(images), label, np.int64)
    rows = open_rows(encode_rows(images, labels))
    assert rows.shape == (len(images), 2 + images[0].size)
    again, labels_again = split_rows(rows, images.shape[1:])
    assert np.array_equal(again, images)
    assert np.array_equal(labels_again, labels)


def test_a_file_is_mapped_and_its_images_are_views(tmp_path):
    images = np.arange(3 * 48, dtype=np.uint8).reshape(3, 3, 4, 4)
    (tmp_path / "shard").write_bytes(encode_rows(images, np.array([0, 300, 65535])))
    rows = open_rows(tmp_path / "shard")
    assert isinstance(rows, np.memmap)
    again, labels = split_rows(rows, (3, 4, 4))
    assert np.shares_memory(again, rows)
    assert np.array_equal(again, images)
    assert labels.tolist() == [0, 300, 65535]


def test_what_is_no_shard_is_corrupt(tmp_path):
    pickled, floats = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([print, {}], object), allow_pickle=True)
    np.save(floats, np.zeros((2, 5)))
    shard = encode_rows(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64))
    for content in (b"", b"PK", shard[:-1], shard[:40], pickled.getvalue(), floats.getvalue()):
        path = tmp_path / "shard"
        path.write_bytes(content)
        for source in (content, path):
            with pytest.raises(Corrupt, match="not a shard"):
                open_rows(source)


def test_rows_of_another_shape_are_corrupt():
    rows = open_rows(encode_rows(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64)))
    with pytest.raises(Corrupt, match=r"4 pixels .* \[3, 2, 2\]"):
        split_rows(rows, (3, 2, 2))
