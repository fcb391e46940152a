import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fednas.data import load_parquet
from fednas.errors import DataError
from fednas.spec import Columns

COLOUR = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 6), np.uint8)
GREY = COLOUR[:, :1]
LABELS = [0, 1, 2, 1, 0]
ENCODED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encode(image, kind="PNG"):
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def parquet(images, labels=LABELS, *, image="img", label="label", **options):
    stream = io.BytesIO()
    pq.write_table(pa.table({image: images, label: labels}), stream, **options)
    return stream.getvalue()


def structs(images, kind="PNG"):
    rows = [{"bytes": encode(image, kind), "path": f"{i}.png"} for i, image in enumerate(images)]
    return pa.array(rows, ENCODED)


def load(*contents, **columns):
    files = dict(zip(("train.parquet", "test.parquet"), contents, strict=False))
    return load_parquet(files, Columns(**columns))


@pytest.mark.parametrize("images", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize(
    "column",
    [
        structs,
        lambda images: pa.array([encode(image) for image in images]),
        lambda images: images.tolist(),
        lambda images: images.transpose(0, 2, 3, 1).tolist(),
    ],
    ids=["struct", "binary", "lists-chw", "lists-hwc"],
)
def test_every_layout_gives_the_same_pixels(column, images):
    dataset = load(parquet(column(images)), parquet(column(images[::-1])))
    assert np.array_equal(dataset.images, images)
    assert np.array_equal(dataset.test_images, images[::-1])
    assert dataset.labels.tolist() == LABELS
    assert dataset.classes == 3


def test_many_row_groups_and_sliced_chunks_stay_in_order():
    dataset = load(parquet(COLOUR.tolist(), row_group_size=2))
    assert np.array_equal(dataset.images, COLOUR)


def test_jpeg_is_decoded_to_about_its_pixels():
    smooth = np.broadcast_to(np.arange(0, 96, 6, dtype=np.uint8), (5, 3, 16, 16))
    dataset = load(parquet(structs(smooth, "JPEG")))
    assert np.abs(dataset.images.astype(int) - smooth).max() < 16


def test_other_column_names_are_taken_from_the_spec():
    dataset = load(parquet(structs(GREY), image="image", label="y"), image="image", label="y")
    assert np.array_equal(dataset.images, GREY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1", r"train\.parquet: not a readable parquet file"),
        (
            parquet(structs(GREY), image="image"),
            r"train\.parquet: no column 'img'; it has 'image', 'label': set spec\.data\.columns\.i",
        ),
        (
            parquet(structs(GREY), label="y"),
            r"no column 'label'; .*: set spec\.data\.columns\.label",
        ),
        (parquet(structs(GREY), list("abcde")), r"'label': has string; labels must be integers"),
        (parquet(structs(GREY), [0, 1, None, 0, 1]), r"'label': row 2 has a null"),
        (parquet(structs(GREY), [0] * 5), r"only the label 0"),
        (parquet(structs(GREY[:0]), pa.array([], pa.int64())), r"hold no rows"),
        (parquet([0.5] * 5), r"'img': is double; must be struct<bytes, path>, binary"),
        (parquet([b"GIF?"] * 5), r"'img': row 0 is no readable image"),
        (
            parquet(pa.array([{"bytes": None, "path": "a.png"}] * 5, ENCODED)),
            r"row 0 holds no bytes; images must lie in the file",
        ),
        (
            parquet([encode(image) for image in [*COLOUR[:4], COLOUR[4, :, :5, :5]]]),
            r"row 4 is 5x5 and row 0 is 6x6; all images must have one size",
        ),
        (parquet([encode(image[:, :4]) for image in COLOUR]), r"4x6; the networks take square"),
        (parquet([[[256] * 2] * 2] * 5), r"row 0 has the pixel 256; must be 0\.\.255"),
        (parquet([[[0.5] * 2] * 2] * 5), r"pixels are double; must be integers"),
        (
            parquet([[[1] * 2] * 2] * 4 + [[[1] * 3] * 3]),
            r"row 4 is 3x3 and row 0 is 2x2; all images",
        ),
        (parquet([[1, 2, 3, 4]] * 5), r"each image is 4; must be \[H\]\[W\]"),
        (parquet([None, *GREY[1:, 0].tolist()]), r"row 0 is null; every row must hold an image"),
    ],
)
def test_what_cannot_be_read_is_refused_with_place_and_remedy(content, message):
    with pytest.raises(DataError, match=message):
        load(content)


def test_a_test_split_of_another_size_is_refused():
    for column in (structs, lambda images: images.tolist()):
        train, test = column(COLOUR), column(COLOUR[:, :, :5, :5])
        with pytest.raises(
            DataError, match=r"test\.parquet: .* row 0 is 5x5 and row 0 of train\.parquet is"
        ):
            load(parquet(train), parquet(test))


def test_pandas_is_not_imported_for_a_column_of_labels(tmp_path):
    (tmp_path / "train.parquet").write_bytes(parquet(structs(COLOUR)))
    code = f"import sys, fednas.data as d; d.load_dataset({str(tmp_path)!r}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pyarrow" in done.stdout.split()
    assert "pandas" not in done.stdout.split()
