import math

import numpy as np
import pytest
import torch
from torch import nn

from fednas.data import open_rows, split_rows
from fednas.spec import Sgd
from fednas.training import normalise, train

SHAPE = (1, 8, 8)
SETTINGS = Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4)

GOLDEN_LOSS = 1.46099359  # torch 2.13, x86-64; other machines differ in the last digits


def fit(network, rows, *, epochs=2, batch_size=32, optimizer=SETTINGS, seed=7):
    return train(
        network, rows, SHAPE, epochs=epochs, batch_size=batch_size, optimizer=optimizer, seed=seed
    )


class Recorder(nn.Module):
    """Notes the batches it is given."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(10))
        self.batches = []

    def forward(self, x):
        self.batches.append(x.detach().clone())
        return self.bias.expand(len(x), -1)


def test_the_loss_of_a_fixed_run_has_not_changed(make_network, rows):
    trained = fit(make_network(), rows)
    assert trained.samples == 512
    assert trained.loss == pytest.approx(GOLDEN_LOSS, rel=1e-4)


def test_the_same_arguments_give_the_same_bits(make_network, rows):
    first, second = make_network(), make_network()
    assert fit(first, rows) == fit(second, rows)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key


def test_another_seed_gives_another_network(make_network, rows):
    assert fit(make_network(), rows, seed=1).loss != fit(make_network(), rows, seed=2).loss


def test_dropout_is_drawn_from_the_seed(rows):
    def losses(seed):
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
        with torch.no_grad():
            network[2].weight.copy_(torch.arange(640).reshape(10, 64).sin())
            network[2].bias.zero_()
        return fit(network, rows, epochs=1, batch_size=len(rows), seed=seed).loss

    first = losses(1)
    torch.rand(3)
    assert losses(1) == first
    assert losses(2) != first


def test_nothing_is_drawn_from_global_random_numbers(make_network, rows):
    network = make_network()
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    fit(network, rows)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize(
    ("samples", "epochs", "batch_size", "steps", "batch"),
    [
        (256, 1, 64, 4, 64),
        (100, 1, 32, 4, 32),
        (100, 0.5, 32, 2, 32),
        (100, 0.001, 32, 1, 32),
        (100, 2.5, 32, 8, 32),
        (10, 3, 64, 3, 10),
        (2, 1, 64, 1, 2),
    ],
)
def test_batches_are_full_and_steps_are_the_ceiling(
    rows, samples, epochs, batch_size, steps, batch
):
    recorder = Recorder()
    trained = fit(recorder, rows[:samples], epochs=epochs, batch_size=batch_size)
    assert [len(x) for x in recorder.batches] == [batch] * steps
    assert trained.samples == steps * batch


def test_an_epoch_uses_every_sample_once_and_the_next_repeats_the_order(rows):
    recorder = Recorder()
    fit(recorder, rows[:96], epochs=2, batch_size=32)
    seen = torch.cat(recorder.batches)
    assert torch.equal(seen[:96], seen[96:])
    everything = normalise(split_rows(np.array(rows[:96]), SHAPE)[0])
    key = torch.arange(64.0)
    assert not torch.equal(seen[:96], everything)
    assert torch.equal(
        (seen[:96].flatten(1) @ key).sort()[0], (everything.flatten(1) @ key).sort()[0]
    )


def test_one_step_is_the_textbook_update(rows):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(network[1].weight)
    nn.init.ones_(network[1].bias)
    fit(
        network,
        rows[:4],
        epochs=1,
        batch_size=4,
        optimizer=Sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.01),
    )
    _, labels = split_rows(np.array(rows[:4]), SHAPE)
    gradient = (0.1 - np.eye(10)[labels]).mean(0)
    expected = 1 - 0.1 * (gradient + 0.01)
    assert network[1].bias.detach().numpy() == pytest.approx(expected, abs=1e-6)


def test_training_learns(make_network, rows):
    assert fit(make_network(), rows, epochs=8).loss < math.log(10) / 4


def test_the_module_ends_in_training_mode_and_channels_last(make_network, rows):
    network = make_network().eval()
    fit(network, rows)
    assert network.training
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_read_only_memory_map_is_trained_from(make_network, rows, tmp_path):
    np.save(tmp_path / "shard.npy", rows)
    mapped = open_rows(tmp_path / "shard.npy")
    assert fit(make_network(), mapped) == fit(make_network(), rows)


def test_normalise_maps_bytes_to_minus_two_to_two():
    images = np.array([0, 51, 255, 102], np.uint8).reshape(1, 1, 2, 2)
    batch = normalise(images)
    assert batch.dtype == torch.float32
    assert batch.flatten().tolist() == pytest.approx([-2, -1.2, 2, -0.4], abs=1e-6)
    colour = normalise(np.zeros((2, 3, 4, 4), np.uint8))
    assert colour.is_contiguous(memory_format=torch.channels_last)
