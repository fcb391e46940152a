import numpy as np
import pytest
import torch

from fednas.errors import DataError
from fednas.models import (
    Architecture,
    build,
    initialise,
    layout,
    load_vector,
    start_architecture,
    to_vector,
)


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


@pytest.mark.parametrize("name", ["cnn", "mobilenet_v1"])
@pytest.mark.parametrize("size", [1, 8, 28, 32, 84])
def test_every_image_size_gives_logits(name: str, size: int):
    module = build(arch(name, size, channels=1)).eval()
    assert module(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_resolution_follows_the_paper_at_224_pixels():
    sizes: list[int] = []
    module = build(arch(size=224)).eval()
    module.block13.register_forward_hook(lambda m, x, y: sizes.append(y.shape[-1]))
    module(torch.zeros(1, 3, 224, 224))
    assert sizes == [7]


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


def test_untrained_network_keeps_the_signal():
    module = build(arch(), initialise(arch(), 3))
    images = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    spread = float(module(images).detach().std())
    assert 0.1 < spread < 3
