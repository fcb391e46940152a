"""The estimate of training memory: exact in what autograd saves, near what torch allocates."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from fednas.data import encode_rows, open_rows
from fednas.models import Architecture, build, start_architecture
from fednas.space import Space
from fednas.space._activations import _saved, activation_terms
from fednas.spec import Sgd
from fednas.training import train

Traced = Callable[[str, int], Space]


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v1", 32), ("cnn", 28)])
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_autograd_saves_is_exact_for_any_widths(
    traced: Traced, name: str, size: int, data: st.DataObject
) -> None:
    space = traced(name, size)
    widths = data.draw(st.tuples(*(st.integers(1, w) for w in space.start.widths)))
    module = build(space.start.with_widths(widths)).train()
    three, five = (_saved(module, torch.zeros(n, 3, size, size)) for n in (3, 5))
    assert (five - three) / 2 == space.activation_terms.value(widths)


def test_nothing_of_the_networks_that_were_looked_at_stays_in_memory() -> None:
    """A graph that kept its own outputs would keep them too, and no collector would see it."""
    network = start_architecture("cnn", channels=3, size=32, classes=10)
    parameters: list[weakref.ref[torch.nn.Parameter]] = []

    def rebuild(widths: Sequence[int]) -> torch.nn.Module:
        module = build(network.with_widths([*widths]))
        parameters.extend(map(weakref.ref, module.parameters()))
        return module

    activation_terms(network.widths, rebuild, network.input_shape)
    gc.collect()
    assert len(parameters) > 10
    assert not any(parameter() is not None for parameter in parameters)


def test_memory_is_three_times_the_weights_and_the_activations_of_a_batch(traced: Traced) -> None:
    space = traced("cnn", 8)
    widths = space.start.widths
    one, ten = (space.priced(batch, {}).memory(widths) for batch in (1, 10))
    assert ten - one == 9 * space.activation_terms.value(widths)
    assert one - space.activation_terms.value(widths) == 12 * space.params(widths)


@pytest.mark.parametrize(
    ("name", "size", "batch"), [("mobilenet_v1", 32, 16), ("cnn", 28, 64), ("cnn", 8, 32)]
)
def test_it_is_within_a_tenth_of_the_peak_of_torchs_allocations(
    traced: Traced, name: str, size: int, batch: int
) -> None:
    space = traced(name, size).priced(batch, {})
    peak = allocated(space.start, batch)
    assert 0.9 * peak < space.memory(space.start.widths) <= 1.01 * peak


def allocated(network: Architecture, batch: int) -> int:
    """Most bytes that torch held while it built a network and trained it for three steps."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(batch, *network.input_shape), dtype=np.uint8)
    rows = open_rows(encode_rows(images, rng.integers(network.classes, size=batch)))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        module = build(network)
        shape = network.input_shape
        train(module, rows, shape, epochs=3, batch_size=batch, optimizer=Sgd(), seed=0)
    results = profiler.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    held = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(held.max())
