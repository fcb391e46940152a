import numpy as np
import pytest
import torch

from fednas.errors import DataError
from fednas.models import (
    FAMILIES,
    Architecture,
    build,
    initialise,
    layout,
    load_vector,
    start_architecture,
    to_vector,
)
from fednas.resources import count_macs, count_params


def arch(name: str = "mobilenet_v1", size: int = 32, channels: int = 3) -> Architecture:
    return start_architecture(name, channels=channels, size=size, classes=10, width_multiplier=0.25)


def test_mobilenet_of_a_quarter_has_the_known_size():
    module = build(arch())
    assert sum(p.numel() for p in module.parameters()) == 215_642
    assert [name for name, _ in module.named_children()] == [
        "stem",
        *(f"block{i}" for i in range(1, 14)),
        "classifier",
    ]


@pytest.mark.parametrize(
    ("name", "size", "classes", "params", "macs"),
    [
        ("mobilenet_v1", 224, 1000, 4_231_976, 568_740_352),
        ("mobilenet_v2", 224, 1000, 3_504_872, 300_774_272),
        ("resnet20", 32, 10, 272_474, 40_813_184),
    ],
)
def test_networks_at_full_width_have_the_published_size(
    name: str, size: int, classes: int, params: int, macs: int
):
    """With projections: the paper's ResNet-20 of 0.27 M parameters has 2752 fewer."""
    module = build(start_architecture(name, channels=3, size=size, classes=classes))
    assert count_params(module) == params
    assert count_macs(module, torch.zeros(1, 3, size, size)) == macs


def test_cnn_keeps_the_borders_as_leaf_does():
    module = build(start_architecture("cnn", channels=3, size=84, classes=2))
    assert module.classifier.in_features == 32 * 6 * 6
    assert module.layers(torch.zeros(2, 3, 84, 84)).shape == (2, 32, 6, 6)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("size", [1, 8, 28, 32, 84])
def test_every_image_size_gives_logits(name: str, size: int):
    module = build(arch(name, size, channels=1)).eval()
    assert module(torch.zeros(2, 1, size, size)).shape == (2, 10)


@pytest.mark.parametrize(("name", "last"), [("mobilenet_v1", "block13"), ("mobilenet_v2", "head")])
@pytest.mark.parametrize(("size", "end"), [(224, 7), (32, 2)])
def test_resolution_follows_the_paper_and_suits_small_images(
    name: str, last: str, size: int, end: int
):
    sizes: list[int] = []
    module = build(arch(name, size)).eval()
    module.get_submodule(last).register_forward_hook(lambda m, x, y: sizes.append(y.shape[-1]))
    module(torch.zeros(1, 3, size, size))
    assert sizes == [end]


def test_vector_holds_everything_but_the_batch_counter():
    module = build(arch())
    names = [name for name, _ in layout(module)]
    assert not [name for name in names if "num_batches" in name]
    assert len(names) == len(module.state_dict()) - 27
    assert to_vector(module).size == sum(int(np.prod(shape)) for _, shape in layout(module))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_vector_round_trips_in_any_memory_format(memory_format: torch.memory_format):
    vector = np.random.default_rng(0).standard_normal(initialise(arch(), 0).size)
    vector = vector.astype(np.float32)
    module = build(arch()).to(memory_format=memory_format)
    load_vector(module, vector)
    np.testing.assert_array_equal(to_vector(module), vector)


def test_a_loaded_network_has_seen_no_batches():
    module = build(arch("cnn", 8))
    vector = to_vector(module)
    module(torch.ones(4, 3, 8, 8))
    load_vector(module, vector)
    counters = [b for name, b in module.named_buffers() if name.endswith("batches_tracked")]
    assert [int(counter) for counter in counters] == [0] * 4


def test_vector_is_a_copy():
    module = build(arch())
    before = to_vector(module)
    kept = before.copy()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    np.testing.assert_array_equal(before, kept)


def test_wrong_length_is_refused_in_words():
    with pytest.raises(DataError, match=r"got shape \[3\]; this network needs \[221114\]"):
        load_vector(build(arch()), np.zeros(3, np.float32))


def test_initialise_depends_on_the_seed_alone():
    state = torch.random.get_rng_state()
    first = initialise(arch(), 1)
    torch.manual_seed(5)
    np.testing.assert_array_equal(initialise(arch(), 1), first)
    assert not np.array_equal(initialise(arch(), 2), first)
    torch.random.set_rng_state(state)


def test_build_leaves_torchs_random_state_alone():
    state = torch.random.get_rng_state()
    build(arch())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_first_weights_are_normal_or_the_identity(name: str):
    module = build(arch(name), initialise(arch(name), 0))
    for key, tensor in module.state_dict().items():
        if tensor.dim() > 1:
            assert abs(tensor.mean()) < tensor.std()
        elif not key.endswith("num_batches_tracked"):
            one = key.endswith(("running_var", "norm.weight"))
            assert (tensor == float(one)).all(), key


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_untrained_network_keeps_the_signal(name: str):
    module = build(arch(name), initialise(arch(name), 3))
    images = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    spread = float(module(images).detach().std())
    assert 0.1 < spread < 3
