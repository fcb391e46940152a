import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fednas.data import load_parquet
from fednas.errors import DataError
from fednas.spec import Columns


def labelled(labels):
    stream = io.BytesIO()
    images = [[[row % 256] * 2] * 2 for row in range(len(labels))]
    pq.write_table(pa.table({"img": images, "label": labels}), stream)
    return stream.getvalue()


def load(train, test=None):
    files = {"train.parquet": labelled(train)}
    if test is not None:
        files["test.parquet"] = labelled(test)
    return load_parquet(files, Columns())


@pytest.mark.parametrize(
    ("train", "test", "classes", "present"),
    [
        ([2, 1, 0, 1], [0, 2], [2, 1, 0, 1], (0, 1, 2)),
        ([*range(1, 11)], [10, 1], [*range(10)], tuple(range(1, 11))),
        ([60_000, 7, 7], None, [1, 0, 0], (7, 60_000)),
        ([5, -1, -(2**63), 2**63 - 1], None, [2, 1, 0, 3], (-(2**63), -1, 5, 2**63 - 1)),
        ([0, 2], [1, 3], [0, 2], (0, 1, 2, 3)),
        ([0, 2], None, [0, 1], (0, 2)),
    ],
    ids=["classes", "from-one", "sparse", "int64", "test-only", "gap"],
)
def test_the_labels_that_occur_become_classes_in_order(train, test, classes, present):
    dataset = load(train, test)
    assert dataset.labels.tolist() == classes
    assert dataset.labels.dtype == dataset.test_labels.dtype == np.int64
    assert dataset.labels_present == present
    assert dataset.classes == len(present)
    assert [present[label] for label in dataset.test_labels] == (test or [])


@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
def test_integers_of_any_width_are_labels(kind):
    assert load(pa.array([0, 9, 4], kind)).labels_present == (0, 4, 9)


def test_a_dictionary_of_integers_is_labels():
    assert load(pa.array([8, 6, 8]).dictionary_encode()).labels.tolist() == [1, 0, 1]


def test_labels_of_many_chunks_stay_in_order():
    stream = io.BytesIO()
    images = [[[row] * 2] * 2 for row in range(6)]
    table = pa.table({"img": images, "label": [3, 1, 2, 3, 2, 1]})
    pq.write_table(table, stream, row_group_size=2)
    dataset = load_parquet({"train.parquet": stream.getvalue()}, Columns())
    assert dataset.labels.tolist() == [2, 0, 1, 2, 1, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], "column 'label': has double; labels must be integers"),
        (["cat", "dog"], "has string; labels must be integers"),
        ([True, False], "has bool; labels must be integers"),
        (pa.array(["a", "b"]).dictionary_encode(), "has string; labels must be integers"),
        ([[0], [1]], r"has list<.*>; labels must be integers"),
        ([0, None, 1], "column 'label': row 1 has a null"),
        (pa.nulls(3), "row 0 has a null"),
        (
            pa.array([0, 1, 2**63], "uint64"),
            "row 2 has the label 9223372036854775808; the largest is 9223372036854775807",
        ),
        ([7, 7, 7], "'label': the train files hold only the label 7; need two"),
    ],
)
def test_what_are_no_labels_is_refused_with_the_row(labels, message):
    with pytest.raises(DataError, match=message) as caught:
        load(labels)
    assert "\n" not in str(caught.value)


def test_more_classes_than_a_shard_can_number_are_refused():
    with pytest.raises(DataError, match="holds 65537 different labels; there can be 65536 classes"):
        load(np.arange(65_537) * 3)
