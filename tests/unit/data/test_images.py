"""What an image column may hold beyond the plain case, and what it may not."""

import io
import os
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fednas.data import load_dataset, load_parquet
from fednas.errors import DataError
from fednas.spec import Columns

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 5), np.uint8)
GREY = COLOUR[:, :1]
AS_COLOUR = np.repeat(GREY, 3, axis=1)
LABELS = [0, 1, 2, 1, 0, 2]
PNG_START = b"\x89PNG\r\n\x1a\n"


def png(image, mode=None):
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    stream = io.BytesIO()
    (picture := Image.fromarray(pixels)).convert(mode or picture.mode).save(stream, "PNG")
    return stream.getvalue()


def pngs(*images):
    return [png(image) for image in images]


def parquet(images, labels=None, **options):
    stream = io.BytesIO()
    labels = LABELS[: len(images)] if labels is None else labels
    pq.write_table(pa.table({"img": images, "label": labels}), stream, **options)
    return stream.getvalue()


def load(*train, test=None):
    files = {f"train-{i}-of-{len(train)}.parquet": content for i, content in enumerate(train)}
    return load_parquet(files | ({"test.parquet": test} if test else {}), Columns())


# --- grey and colour -----------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 3, 5])
def test_one_colour_image_makes_all_rgb_wherever_it_lies(at):
    wanted = AS_COLOUR.copy()
    wanted[at] = COLOUR[at]
    images = pngs(*GREY)
    images[at] = png(COLOUR[at])
    assert np.array_equal(load(parquet(images)).images, wanted)


def test_one_grey_image_does_not_make_colour_images_grey():
    dataset = load(parquet(pngs(GREY[0], *COLOUR[1:])), test=parquet(pngs(*COLOUR[1:3])))
    assert np.array_equal(dataset.images, [AS_COLOUR[0], *COLOUR[1:]])
    assert np.array_equal(dataset.test_images, COLOUR[1:3])


@pytest.mark.parametrize("colour_first", [False, True])
def test_a_file_in_colour_makes_all_files_rgb(colour_first):
    pair = [(GREY[:3], AS_COLOUR[:3]), (COLOUR[3:], COLOUR[3:])]
    if colour_first:
        pair.reverse()
    dataset = load(*(parquet(pngs(*given)) for given, _ in pair))
    assert np.array_equal(dataset.images, np.concatenate([wanted for _, wanted in pair]))


def test_test_images_follow_the_mode_of_the_training_images():
    to_colour = load(parquet(pngs(*COLOUR)), test=parquet(pngs(*GREY)))
    assert np.array_equal(to_colour.test_images, AS_COLOUR)
    to_grey = load(parquet(pngs(*GREY)), test=parquet(pngs(*COLOUR)))
    assert to_grey.test_images.shape == GREY.shape
    assert np.array_equal(to_grey.images, GREY)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_every_grey_mode_as_rgb_is_its_grey_thrice(mode):
    images = [png(image, mode) for image in GREY]
    grey = load(parquet(images)).images
    assert grey.shape == GREY.shape
    with_colour = load(parquet([*images[:5], png(COLOUR[5])])).images
    assert np.array_equal(with_colour[:5], np.repeat(grey[:5], 3, axis=1))


def test_lists_of_pixels_that_differ_in_channels_are_refused_with_both_rows():
    flat, deep = GREY[:, 0].tolist(), COLOUR.tolist()
    with pytest.raises(
        DataError,
        match=r"train-1-of-2\.parquet: column 'img': row 0 has 3 channels and row 0 of "
        r"train-0-of-2\.parquet has 1",
    ):
        load(parquet(flat), parquet(deep))
    with pytest.raises(
        DataError, match=r"test\.parquet: .* 1 channels .*train-0-of-1\.parquet has 3"
    ):
        load(parquet(deep), test=parquet(flat))
    mixed = [*GREY[:5].transpose(0, 2, 3, 1).tolist(), COLOUR[5].transpose(1, 2, 0).tolist()]
    with pytest.raises(DataError, match=r"row 5 is 5x5x3 and row 0 is 5x5x1; all .* of channels"):
        load(parquet(mixed))


# --- turned, wrapped, chunked --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(kind, orientation):
    upright = np.zeros((16, 16), np.uint8)
    upright[:8, :8], upright[:8, 8:] = 250, 120  # no two of the eight look alike
    turned = Image.fromarray(upright)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    if orientation in undo:
        turned = turned.transpose(undo[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    turned.save(stream, kind, exif=exif)
    image = load(parquet([stream.getvalue()] * 2)).images[0, 0]
    assert np.abs(image.astype(int) - upright).max() < 16


def test_broken_exif_leaves_an_image_as_it_lies():
    stream = io.BytesIO()
    Image.fromarray(GREY[0, 0]).save(stream, "PNG", exif=b"Exif\0\0no such thing")
    assert np.array_equal(load(parquet([stream.getvalue()] * 2)).images[1], GREY[0])


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.list_(pa.uint8()),
        pa.large_list(pa.uint8()),
        pa.list_(pa.int64()),
        pa.list_(pa.int8()),
        pa.dictionary(pa.int32(), pa.binary()),
    ],
    ids=str,
)
@pytest.mark.parametrize("in_struct", [False, True], ids=["alone", "struct"])
def test_bytes_are_read_whatever_their_type(kind, in_struct):
    encoded = pngs(*COLOUR)
    if kind == pa.list_(pa.int8()):
        encoded = [np.frombuffer(content, np.int8).tolist() for content in encoded]
    elif pa.types.is_nested(kind):
        encoded = [list(content) for content in encoded]
    column = pa.array(encoded, kind)
    if in_struct:
        column = pa.StructArray.from_arrays([column, pa.nulls(6, pa.string())], ["bytes", "path"])
    # Arrow can neither slice views nor read a dictionary inside of a struct from two groups.
    whole = kind == pa.binary_view() or (in_struct and pa.types.is_dictionary(kind))
    groups = {} if whole else {"row_group_size": 2}
    assert np.array_equal(load(parquet(column, **groups)).images, COLOUR)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.uint8())),
        pa.large_list(pa.large_list(pa.int32())),
        pa.list_(pa.list_(pa.uint64(), 5), 5),
        pa.list_view(pa.list_view(pa.uint8())),
    ],
    ids=str,
)
def test_lists_of_every_layout_and_chunking_are_pixels(kind):
    column = pa.array(GREY[:, 0].tolist(), kind)
    assert np.array_equal(load(parquet(column, row_group_size=4)).images, GREY)


@pytest.mark.parametrize("empty_at", [0, 1])
def test_files_without_rows_are_skipped(empty_at):
    nothing = [parquet(pa.nulls(0), []), parquet(pa.array([], pa.list_(pa.list_(pa.uint8()))), [])]
    for images in (pngs(*COLOUR), COLOUR.tolist()):
        files = [parquet(images)]
        files.insert(empty_at, nothing[empty_at])
        dataset = load(*files, test=nothing[0])
        assert np.array_equal(dataset.images, COLOUR)
        assert dataset.test_images.shape == (0, 3, 5, 5)


# --- what is refused, in one line with its place -------------------------------------------------


def cut_header():
    return PNG_START + struct.pack(">I", 13) + b"IHDR" + b"\0\0\0"


def bytes_of(values, kind):
    column = pa.array(values, kind)
    return pa.StructArray.from_arrays(
        [column, pa.nulls(len(values), pa.string())], ["bytes", "path"]
    )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["iVBORw0KGgo="] * 2, r"'img': is string; must be struct<bytes, path>, binary"),
        (
            bytes_of(["iVBORw0KGgo="] * 2, "string"),
            r"'img': is struct<bytes: string, path: string>",
        ),
        (bytes_of([[1.0]] * 2, pa.list_(pa.float32())), r"is struct<bytes: list<.*float>"),
        (bytes_of([[256]] * 2, pa.list_(pa.int16())), r"row 0 holds no bytes"),
        (bytes_of([[1, None]] * 2, pa.list_(pa.uint8())), r"row 0 holds no bytes"),
        (pa.nulls(2), r"row 0 is null; every row must hold an image"),
        (
            [png(COLOUR[0]), b""],
            r"row 1 is no readable image: 0 bytes that are neither PNG nor JPEG",
        ),
        ([png(COLOUR[0]), cut_header()], r"row 1 is no readable image: "),
        ([png(COLOUR[0]), png(COLOUR[1])[:-30]], r"row 1 is no readable image: "),
        ([png(COLOUR[0]), png(COLOUR[1])[:20]], r"row 1 is no readable image: "),
        ([[[]]] * 2, r"row 0 has an empty list; must hold pixels"),
        ([[]] * 2, r"row 0 has an empty list"),
        ([[[1, 2], [3, 4]], [[1, 2], []]], r"row 1 has an empty list"),
        ([[[1, 2], [3, 4]], [[1, 2], [3]]], r"row 1 has lines that differ in length"),
        ([[[1, 2], [3, 4]], [[1, 2], [3, None]]], r"row 1 has a null among its pixels"),
        ([[[1, 2], [3, 4]], [[1, 2], None]], r"row 1 has a null among its pixels"),
        ([[[1, 2], [3, 4]], [[1, 2], [3, -4]]], r"row 1 has the pixel -4; must be 0\.\.255"),
        ([[["a", "b"]] * 2] * 2, r"pixels are string; must be integers"),
        (pa.array([b"0123"] * 2, pa.binary(4)), r"row 0 is no readable image: 4 bytes"),
        (pa.array([{"path": "a.png"}] * 2), r"is struct<path: string>"),
        (pa.array([[1, 2, 3, 4]] * 2, pa.list_(pa.uint8(), 4)), r"each image is 4; must be"),
        ([[[[1] * 2] * 4] * 4] * 2, r"each image is 4x4x2; must be .* with 1 or 3 channels"),
    ],
)
def test_images_that_cannot_be_read_are_refused_with_file_column_and_row(images, message):
    with pytest.raises(DataError, match=message) as caught:
        load(parquet(images, [0, 1]))
    assert str(caught.value).startswith("train-0-of-1.parquet: column 'img': ")
    assert "\n" not in str(caught.value)


def test_sixteen_bits_are_refused():
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(stream, "PNG")
    with pytest.raises(DataError, match=r"row 0 has mode I;16; need 8 bits, grey or colour"):
        load(parquet([stream.getvalue()] * 2))


def test_every_cut_and_every_changed_byte_of_a_png_is_read_or_refused():
    whole = png(COLOUR[0])
    rng = np.random.default_rng(1)
    broken = [whole[:cut] for cut in range(0, len(whole), 7)]
    for at in rng.integers(8, len(whole), 60):
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        broken.append(bytes(changed))
    for content in broken:
        try:
            load(parquet([whole, content], [0, 1]))
        except DataError as error:
            assert "row 1" in str(error)  # noqa: PT017  # most are refused, some differ in no pixel


def test_two_columns_of_one_name_are_refused():
    for twice in ("label", "img"):
        columns = {"img": pa.array(pngs(*COLOUR)), "label": pa.array(LABELS)}
        table = pa.Table.from_arrays([*columns.values(), columns[twice]], [*columns, twice])
        stream = io.BytesIO()
        pq.write_table(table, stream)
        field = {"img": "image"}.get(twice, twice)
        with pytest.raises(
            DataError,
            match=rf"train-0-of-1\.parquet: has 2 columns '{twice}'; .*columns\.{field} ",
        ):
            load(stream.getvalue())


def test_one_column_for_both_is_refused():
    files = {"train.parquet": parquet(pngs(*COLOUR))}
    with pytest.raises(DataError, match="column 'img': has binary; labels must be integers"):
        load_parquet(files, Columns(image="img", label="img"))


@pytest.mark.parametrize("keep", [0, 4, 50, -1, -9, -200])
def test_a_cut_parquet_file_is_refused_in_one_line(keep):
    content = parquet(pngs(*COLOUR))[:keep]
    with pytest.raises(DataError, match=r"^train-0-of-1\.parquet: not a readable") as caught:
        load(content)
    assert "\n" not in str(caught.value)


def test_changed_bytes_of_a_parquet_file_are_read_or_refused():
    whole = parquet(COLOUR.tolist())
    rng = np.random.default_rng(2)
    for at in rng.integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        try:
            load(bytes(changed))
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017  # a changed statistic changes nothing


# --- files that are none -------------------------------------------------------------------------


def fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("gone.parquet"), r"is a link to gone\.parquet, which is not"),
        (lambda path: path.symlink_to(path.name), r"is a link to train\.parquet, which is not"),
        (lambda path: path.write_bytes(b""), r"not a readable parquet file"),
        (lambda path: path.mkdir(), r"train\.parquet is a folder in which no \*\.parquet"),
        (fifo, r"is no regular file"),
    ],
    ids=["dangling", "loop", "zero-bytes", "folder", "pipe"],
)
def test_what_is_no_file_is_refused_by_name(tmp_path, make, message):
    make(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=rf"train\.parquet.*{message}|{message}"):
        load_dataset(tmp_path)
