"""Images in one folder a class, from a folder and from memory."""

import io

import numpy as np
import pytest
from PIL import Image

from fednas.data import load_dataset, load_files, source_digest
from fednas.errors import DataError

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), np.uint8)
GREY = COLOUR[:, :1]


def encoded(image, kind="PNG"):
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def names(*below, images=COLOUR):
    return dict(zip(below, map(encoded, images), strict=False))


SIX = names(
    "train/dog/2.png",
    "train/cat/1.png",
    "train/dog/1.PNG",
    "train/ant/deep/1.png",
    "test/cat/9.png",
    "test/dog/9.png",
)


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_folders_become_classes_in_the_order_of_their_names():
    dataset = load_files(SIX)
    assert dataset.names == ("ant", "cat", "dog")
    assert dataset.labels_present == (0, 1, 2)
    assert dataset.labels.tolist() == [0, 1, 2, 2]
    assert np.array_equal(dataset.images, COLOUR[[3, 1, 2, 0]])
    assert dataset.test_labels.tolist() == [1, 2]
    assert np.array_equal(dataset.test_images, COLOUR[4:])
    assert dataset.files == ("train/ant/", "train/cat/", "train/dog/", "test/cat/", "test/dog/")


def test_a_folder_and_its_copy_in_memory_are_one_data_set(tmp_path):
    write(
        tmp_path, SIX | {"README.md": b"not data", ".git/train/x/1.png": b"", "train/_x/1.png": b""}
    )
    read, copied = load_dataset(tmp_path), load_files(SIX)
    assert np.array_equal(read.images, copied.images)
    assert (read.names, read.files) == (copied.names, copied.files)
    assert source_digest(tmp_path) == source_digest(SIX)
    renamed = {name.replace("cat", "cow"): content for name, content in SIX.items()}
    assert source_digest(renamed) != source_digest(SIX)


def test_jpeg_is_read_and_there_may_be_no_test_split():
    smooth = np.broadcast_to(np.arange(0, 96, 6, dtype=np.uint8), (3, 16, 16))
    files = {f"train/{name}/1.jpeg": encoded(smooth, "JPEG") for name in "ab"}
    dataset = load_files(files)
    assert np.abs(dataset.images.astype(int) - smooth).max() < 16
    assert dataset.test_images.shape == (0, 3, 16, 16)


def test_one_colour_image_makes_all_rgb_and_grey_ones_alone_stay_grey():
    mixed = {"train/a/1.png": encoded(GREY[0]), "train/b/1.png": encoded(COLOUR[1])}
    assert np.array_equal(load_files(mixed).images, [np.repeat(GREY[0], 3, 0), COLOUR[1]])
    grey = names("train/a/1.png", "train/b/1.png", images=GREY) | {
        "test/a/1.png": encoded(COLOUR[2])
    }
    dataset = load_files(grey)
    assert np.array_equal(dataset.images, GREY[:2])
    assert dataset.test_images.shape == (1, 1, 8, 8)


def test_a_class_may_be_called_train_and_one_may_be_in_the_test_split_alone():
    dataset = load_files(
        names("train/train/1.png", "train/bus/1.png", "test/train/1.png", "test/tram/1.png")
    )
    assert dataset.names == ("bus", "train", "tram")
    assert dataset.test_labels.tolist() == [1, 2]


def test_parquet_files_go_before_images(tmp_path):
    write(tmp_path, SIX | {"train.parquet": b"no parquet"})
    with pytest.raises(DataError, match=r"train\.parquet: not a readable parquet file"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train/cat/0.png": b"none"}, r"^train/cat/0\.png is no readable image: 4 bytes that are"),
        ({"test/cat/0.png": b""}, r"^test/cat/0\.png is no readable image: 0 bytes"),
        (
            {"train/dog/3.png": encoded(COLOUR[0, :, :5, :5])},
            r"^train/dog/3\.png is 5x5 and train/ant/deep/1\.png is 8x8; all images must have one",
        ),
        (
            {"test/dog/3.png": encoded(COLOUR[0, :, :5, :5])},
            r"^test/dog/3\.png is 5x5 and train/ant/deep/1\.png is 8x8; all images must have one",
        ),
        ({"train/3.png": b""}, r"train/3\.png lies in no .*; must be train/<class>/3\.png$"),
        ({"train/dog/3.webp": b""}, r"train/dog/3\.webp is neither PNG nor JPEG; convert it or"),
        ({"train/eel/readme.txt": b""}, r"train/eel holds no image; put \*\.png or \*\.jpg there"),
        ({"test/eel/": b""}, r"test/eel holds no image"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_file(changes, message):
    with pytest.raises(DataError, match=message):
        load_files(SIX | changes)


def test_images_that_are_not_square_or_of_one_class_are_refused():
    with pytest.raises(DataError, match=r"^train/a/1\.png: images are 4x8; .* square ones"):
        load_files(names("train/a/1.png", "train/b/1.png", images=COLOUR[:, :, :4]))
    with pytest.raises(DataError, match=r"^set: train holds only the class 'cat'; need two"):
        load_files(names("train/cat/1.png", "train/cat/2.png", "test/dog/1.png"), where="set")


def test_images_elsewhere_are_no_data_set_and_the_layout_is_told(tmp_path):
    write(tmp_path, names("cat/1.png", "dog/1.png"))
    with pytest.raises(
        DataError, match=r"no train\*\.parquet there \(found: cat/1\.png.*in train/<class>/ and"
    ):
        load_dataset(tmp_path)


def test_an_empty_folder_of_a_class_is_named(tmp_path):
    write(tmp_path, SIX)
    (tmp_path / "train" / "eel").mkdir()
    with pytest.raises(DataError, match=r"train/eel holds no image"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("source", ["digits", "images"])
def test_a_column_where_there_are_none_is_refused(tmp_path, source):
    where = source if source == "digits" else write(tmp_path, SIX)
    with pytest.raises(
        DataError, match=r"spec\.data\.partition\.column\.name: got 'user', and .*has no columns"
    ):
        load_dataset(where, by="user")
