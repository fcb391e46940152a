import numpy as np
import pytest

from fednas.training import augment

KINDS = [("flip",), ("crop",), ("flip", "crop")]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), np.uint8)


def views(image, kinds):
    """Every image that one can become: cut from the padded one, and turned."""
    pad = image.shape[1] // 8 if "crop" in kinds else 0
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            view = padded[:, top : top + height, left : left + width]
            yield top - pad, left - pad, False, view
            if "flip" in kinds:
                yield top - pad, left - pad, True, view[:, :, ::-1]


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
def test_each_image_is_cut_from_the_mirrored_one_and_turned_at_most(images, kinds):
    changed = augment(images, kinds, seed=3)
    assert changed.dtype == np.uint8
    assert changed.shape == images.shape
    found = [
        (top, left, flipped)
        for image, result in zip(images, changed, strict=True)
        for top, left, flipped, view in views(image, kinds)
        if np.array_equal(view, result)
    ]
    assert len(found) == len(images)
    assert len(set(found)) > (30 if "crop" in kinds else 1)


def test_half_of_the_images_are_turned_and_crops_reach_an_eighth_each_way():
    ramp = np.arange(32, dtype=np.uint8)
    images = np.broadcast_to(ramp, (2000, 1, 32, 32)).copy()
    turned = augment(images, ["flip"], seed=0)[:, 0, 0, 0] == 31
    assert 0.46 < turned.mean() < 0.54
    moved = augment(images, ["crop"], seed=0)[:, 0, 0, 16].astype(int) - 16
    counts = np.bincount(moved + 4, minlength=9)
    assert len(counts) == 9
    assert counts.min() > 2000 / 9 * 0.7


def test_one_seed_gives_one_batch_and_another_another(images):
    first, same, other = (augment(images, ["flip", "crop"], seed) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_flips_are_drawn_the_same_with_and_without_crops():
    images = np.zeros((200, 1, 32, 32), np.uint8)
    images[..., 16:] = 1
    alone, both = (augment(images, kinds, seed=5) for kinds in (["flip"], ["crop", "flip"]))
    assert np.array_equal(alone[:, 0, 16, 2], both[:, 0, 16, 2])
    assert np.array_equal(augment(images, ["flip", "crop"], seed=5), both)


def test_without_kinds_the_images_are_what_they_were(images):
    assert augment(images, [], seed=0) is images


def test_the_images_that_came_in_stay_as_they_are(images):
    before = images.copy()
    augment(images, ["flip", "crop"], seed=0)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("size", [1, 7])
def test_images_of_fewer_than_eight_pixels_are_not_moved(size):
    images = np.random.default_rng(0).integers(0, 256, (16, 1, size, size), np.uint8)
    assert np.array_equal(augment(images, ["crop"], seed=0), images)


def test_grey_images_of_eight_pixels_move_by_one():
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), np.uint8)
    moved = augment(images, ["crop"], seed=0)
    assert not np.array_equal(moved, images)
    for image, result in zip(images, moved, strict=True):
        assert any(np.array_equal(view, result) for *_, view in views(image, ["crop"]))
