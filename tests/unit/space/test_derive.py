import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fednas.errors import Corrupt, DataError
from fednas.models import build, initialise, layout, start_architecture, to_vector
from fednas.space import LeftOut, Space, derive
from fednas.space._derive import strongest

Traced = Callable[[str, int], Space]


def tensors(space: Space, widths: tuple[int, ...], vector: np.ndarray) -> dict[str, np.ndarray]:
    shapes = space.shapes(widths)
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    parts = np.split(vector, ends[:-1])
    return {k: part.reshape(s) for (k, s), part in zip(shapes.items(), parts, strict=True)}


def random_weights(space: Space, seed: int = 0) -> np.ndarray:
    size = initialise(space.start, 0).size
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v1", 32),
        ("mobilenet_v2", 32),
        ("resnet20", 16),
        ("cnn", 21),
        ("cnn", 8),
        ("cnn", 32),
    ],
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_child_fits_its_network(traced: Traced, name: str, size: int, data: st.DataObject):
    space = traced(name, size)
    child = space.start.with_widths(
        data.draw(st.tuples(*(st.integers(1, w) for w in space.start.widths)))
    )
    vector = derive(space, space.start, random_weights(space), child)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(to_vector(build(child, vector)), vector)


def test_equal_widths_change_nothing(traced: Traced):
    space = traced("cnn", 8)
    vector = random_weights(space)
    np.testing.assert_array_equal(derive(space, space.start, vector, space.start), vector)


def test_one_index_set_goes_through_every_coupled_tensor(traced: Traced):
    space = traced("mobilenet_v1", 32)
    before = random_weights(space)
    widths = list(space.start.widths)
    widths[1] = 5
    after = derive(space, space.start, before, space.start.with_widths(widths))
    old, new = tensors(space, space.start.widths, before), tensors(space, tuple(widths), after)
    norms = np.square(old["block1.pointwise.weight"].astype(np.float64)).sum((1, 2, 3))
    kept = sorted(np.argsort(norms)[-5:])
    for name in (
        "block1.pointwise.weight",
        "block1.pointwise_norm.running_var",
        "block2.depthwise.weight",
    ):
        np.testing.assert_array_equal(new[name], old[name][kept])
    np.testing.assert_array_equal(
        new["block2.depthwise.weight"], old["block2.depthwise.weight"][kept]
    )
    np.testing.assert_array_equal(
        new["block2.pointwise.weight"], old["block2.pointwise.weight"][:, kept]
    )
    np.testing.assert_array_equal(new["block3.pointwise.weight"], old["block3.pointwise.weight"])


def test_flattened_columns_go_with_their_filter(traced: Traced):
    space = traced("cnn", 32)
    before = random_weights(space)
    widths = (*space.start.widths[:3], 3)
    after = derive(space, space.start, before, space.start.with_widths(widths))
    old, new = tensors(space, space.start.widths, before), tensors(space, widths, after)
    kept = strongest(old, space.groups[3], space.start.widths[3], 3)
    columns = old["classifier.weight"].reshape(10, -1, 4)[:, kept].reshape(10, -1)
    np.testing.assert_array_equal(new["classifier.weight"], columns)


def test_ties_go_to_the_lower_index(traced: Traced):
    space = traced("cnn", 8)
    weight = np.ones((8, 3, 3, 3), np.float32)
    weight[5] = 2
    kept = strongest({"layers.0.conv.weight": weight}, space.groups[0], 8, 3)
    assert kept.tolist() == [0, 1, 5]


def test_order_of_summation_decides_nothing(traced: Traced):
    space = traced("cnn", 8)
    weight = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[:] = weight[0]
    for i in range(8):
        weight[i] = np.roll(weight[0].reshape(-1), i * 5).reshape(3, 3, 3)
    kept = strongest({"layers.0.conv.weight": weight}, space.groups[0], 8, 4)
    assert kept.tolist() == [0, 1, 2, 3]


def test_zero_filters_go_first_and_the_logits_stay(traced: Traced):
    space = traced("mobilenet_v1", 32)
    module = build(space.start).eval()
    silent = [0, 3, 9]
    with torch.no_grad():
        module.get_submodule("block1.pointwise").weight[silent] = 0
        module.get_submodule("block2.pointwise").weight[:, silent] = 0
    widths = list(space.start.widths)
    widths[1] -= 3
    child = space.start.with_widths(widths)
    smaller = build(child, derive(space, space.start, to_vector(module), child)).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(smaller(images), module(images), rtol=1e-4, atol=1e-4)


def test_the_bits_are_known(traced: Traced):
    space = traced("mobilenet_v1", 32)
    child = space.start.with_widths([max(1, w * 3 // 4) for w in space.start.widths])
    size = initialise(space.start, 0).size
    whole = np.random.default_rng(0).integers(-(2**20), 2**20, size).astype(np.float32)
    vector = derive(space, space.start, whole, child)
    assert hashlib.sha256(vector.tobytes()).hexdigest() == (
        "d58b92a8700491d15e4146d53e6773227c3bfbe819597702e244c389de0289c2"
    )


def test_a_wider_child_is_refused(traced: Traced):
    space = traced("cnn", 8)
    child = space.start.with_widths((9, 8, 8, 8))
    with pytest.raises(ValueError, match=r"layers\.0\.conv: the child has 9 filters, its parent 8"):
        derive(space, space.start, random_weights(space), child)


def test_a_group_that_was_left_out_keeps_its_width(traced: Traced):
    space = traced("cnn", 8)
    first = space.groups[0]
    left_out = LeftOut(name=first.name, choice=0, width=first.width, reason="a test")
    space = space.model_copy(update={"groups": space.groups[1:], "left_out": (left_out,)})
    with pytest.raises(ValueError, match=r"layers\.0\.conv: was left out"):
        derive(space, space.start, random_weights(space), space.start.with_widths((7, 8, 8, 8)))


def test_another_network_is_refused(traced: Traced):
    space = traced("cnn", 8)
    other = start_architecture("cnn", channels=3, size=8, classes=9, width_multiplier=0.25)
    with pytest.raises(ValueError, match="is not in the space of"):
        derive(space, other, random_weights(space), other)


def test_wrong_weights_are_refused(traced: Traced):
    space = traced("cnn", 8)
    with pytest.raises(DataError, match=r"got shape \[3\]"):
        derive(space, space.start, np.zeros(3, np.float32), space.start)


def test_wrong_number_of_widths_is_refused(traced: Traced):
    with pytest.raises(ValueError, match="got 2 widths; this space has 4"):
        traced("cnn", 8).macs((1, 2))


def test_a_broken_space_is_corrupt():
    with pytest.raises(Corrupt, match="search space"):
        Space.from_json(b'{"groups": []}')


def test_layout_of_the_start_is_the_networks(traced: Traced):
    space = traced("cnn", 8)
    assert space.tensors == layout(build(space.start))
