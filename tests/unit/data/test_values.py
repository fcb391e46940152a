"""The column whose values are dealt to clients."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fednas.data import load_parquet
from fednas.errors import DataError
from fednas.spec import Columns


def parquet(users, **columns):
    stream = io.BytesIO()
    table = {
        "img": [[[row % 256] * 2] * 2 for row in range(len(users))],
        "label": [row % 2 for row in range(len(users))],
        "user": users,
    }
    pq.write_table(pa.table(table | columns), stream, row_group_size=2)
    return stream.getvalue()


def values(*users, by="user"):
    files = {f"train-{i}.parquet": parquet(content) for i, content in enumerate(users)}
    return load_parquet(files, Columns(), by=by).values


def test_values_are_numbered_in_order_over_all_files():
    assert values(["bo", "al", "bo"], ["cy", "al"]).tolist() == [1, 0, 1, 2, 0]


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.string(), pa.large_string(), pa.string_view()], ids=str
)
def test_integers_and_text_of_any_kind_are_values(kind):
    users = ["7", "5", "7"] if "str" in str(kind) else [7, 5, 7]
    assert values(pa.array(users, kind)).tolist() == [1, 0, 1]


def test_a_dictionary_of_values_is_read():
    assert values(pa.array(["7", "5", "7"]).dictionary_encode()).tolist() == [1, 0, 1]


def test_a_number_and_the_same_as_text_are_one_value():
    assert values([7, 8], ["8", "7"]).tolist() == [0, 1, 1, 0]


def test_the_label_column_may_be_the_one():
    assert values(["a"] * 4, by="label").tolist() == [0, 1, 0, 1]


def test_without_a_column_there_are_no_values_and_the_test_split_needs_none():
    files = {"train.parquet": parquet(["a", "b"])}
    assert load_parquet(files, Columns()).values is None
    stream = io.BytesIO()
    pq.write_table(pa.table({"img": [[[1, 2], [3, 4]]], "label": [0]}), stream)
    dataset = load_parquet(files | {"test.parquet": stream.getvalue()}, Columns(), by="user")
    assert np.array_equal(dataset.values, [0, 1])


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (["a", None, "b"], r"column 'user': row 1 is null; every row must say whose it is"),
        ([0.5, 1.5], r"column 'user': has double; must be integers or text"),
        ([b"a", b"b"], r"column 'user': has binary; must be integers or text"),
        ([[1], [2]], r"column 'user': has list.*; must be integers or text"),
    ],
)
def test_what_is_no_value_is_refused(users, message):
    with pytest.raises(DataError, match=r"^train-0\.parquet: " + message):
        values(users)


def test_a_missing_column_is_named_with_the_field_to_set():
    with pytest.raises(
        DataError,
        match=r"train-0\.parquet: no column 'writer'; it has 'img', 'label', 'user': "
        r"set spec\.data\.partition\.column\.name$",
    ):
        values(["a", "b"], by="writer")
