import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fednas.data import open_rows, split_rows
from fednas.models import to_vector
from fednas.seeds import derive_seed
from fednas.spec import Normalize, Sgd
from fednas.training import augment, normalise, train

SHAPE = (1, 8, 8)
SETTINGS = Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4)

GOLDEN_LOSS = 1.46099359  # torch 2.13, x86-64; other machines differ in the last digits


def fit(network, rows, *, epochs=2, batch_size=32, optimizer=SETTINGS, seed=7, **more):
    return train(
        network,
        rows,
        SHAPE,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        seed=seed,
        **more,
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


@pytest.mark.parametrize(
    "more", [{}, {"augmentation": []}, {"normalize": Normalize(mean=(0.5,), std=(0.25,))}]
)
def test_no_augmentation_and_the_usual_scale_give_the_golden_loss(make_network, rows, more):
    network, plain = make_network(), make_network()
    assert fit(network, rows, **more) == fit(plain, rows)
    assert torch.equal(network[0].weight, plain[0].weight)


def test_every_batch_is_augmented_anew_by_the_seed_of_the_training(rows):
    plain, changed, again, other = (Recorder() for _ in range(4))
    fit(plain, rows[:32])
    for recorder, seed in ((changed, 7), (again, 7), (other, 8)):
        fit(recorder, rows[:32], augmentation=["flip", "crop"], seed=seed)
    order = np.random.default_rng(7).permutation(32)
    images, _ = split_rows(np.array(rows[:32])[order], SHAPE)
    assert torch.equal(plain.batches[0], plain.batches[1])
    for step, batch in enumerate(changed.batches):
        wanted = augment(images, ["crop", "flip"], derive_seed(7, "augment", step))
        assert torch.equal(batch, normalise(wanted))
    assert torch.equal(torch.stack(changed.batches), torch.stack(again.batches))
    assert not torch.equal(changed.batches[0], changed.batches[1])
    assert not torch.equal(changed.batches[0].sort()[0], other.batches[0].sort()[0])


def test_training_reads_pixels_at_the_scale_it_is_told(rows):
    recorder, scale = Recorder(), Normalize(mean=(0.1,), std=(0.4,))
    fit(recorder, rows[:32], normalize=scale)
    images, _ = split_rows(np.array(rows[:32]), SHAPE)
    assert torch.equal(
        recorder.batches[0].flatten().sort()[0], normalise(images, scale).flatten().sort()[0]
    )


def test_normalise_takes_mean_and_deviation_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    batch = normalise(images, Normalize(mean=mean, std=std))
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    wanted = (images.transpose(0, 2, 3, 1) / 255 - mean) / std
    assert batch.permute(0, 2, 3, 1).numpy() == pytest.approx(wanted, abs=1e-5)
    usual = Normalize(mean=(0.5,) * 3, std=(0.25,) * 3)
    assert torch.equal(normalise(images, usual), normalise(images))


def test_normalise_maps_bytes_to_minus_two_to_two():
    images = np.array([0, 51, 255, 102], np.uint8).reshape(1, 1, 2, 2)
    batch = normalise(images)
    assert batch.dtype == torch.float32
    assert batch.flatten().tolist() == pytest.approx([-2, -1.2, 2, -0.4], abs=1e-6)
    colour = normalise(np.zeros((2, 3, 4, 4), np.uint8))
    assert colour.is_contiguous(memory_format=torch.channels_last)


class Two(nn.Module):
    """Layers that a narrower network has the first filters of."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 64, 10)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).relu().flatten(1))


def test_a_network_within_is_trained_by_the_first_part_of_the_weights(rows):
    torch.manual_seed(0)
    whole, inner = Two(6), Two(4)
    before = {name: tensor.clone() for name, tensor in whole.named_parameters()}
    untouched = {name: tensor.clone() for name, tensor in inner.named_parameters()}
    images, labels = split_rows(np.array(rows[:32]), SHAPE)
    wanted = dict.fromkeys(before, 0)
    for width in (6, 4):
        alone = Two(width)
        sizes = {name: tensor.shape for name, tensor in alone.named_parameters()}
        with torch.no_grad():
            for name, tensor in alone.named_parameters():
                tensor.copy_(before[name][tuple(map(slice, sizes[name]))])
        functional.cross_entropy(alone(normalise(images)), torch.from_numpy(labels)).backward()
        for name, tensor in alone.named_parameters():
            padded = torch.zeros_like(before[name])
            padded[tuple(map(slice, sizes[name]))] = tensor.grad
            wanted[name] = wanted[name] + padded
    sgd = Sgd(learning_rate=0.5, momentum=0, weight_decay=0)
    trained = train(
        whole, rows[:32], SHAPE, epochs=1, batch_size=32, optimizer=sgd, seed=1, within=[inner]
    )
    assert trained.samples == 32
    for name, tensor in whole.named_parameters():
        torch.testing.assert_close(tensor, before[name] - 0.5 * wanted[name], rtol=1e-4, atol=1e-5)
    for name, tensor in inner.named_parameters():
        assert torch.equal(tensor, untouched[name])


def test_each_network_within_is_drawn_and_the_draw_is_the_seeds(rows):
    def trained(seed, *widths):
        torch.manual_seed(0)
        whole = Two(6)
        torch.manual_seed(1)
        inner = [Two(width) for width in widths]
        used = [0] * len(inner)

        def count(index):
            used[index] += 1

        for index, network in enumerate(inner):
            network.register_forward_hook(lambda *_, index=index: count(index))
        sgd = Sgd(learning_rate=0.01)
        train(whole, rows, SHAPE, epochs=2, batch_size=16, optimizer=sgd, seed=seed, within=inner)
        return to_vector(whole), used

    one, used = trained(3, 4, 2)
    again, same = trained(3, 4, 2)
    np.testing.assert_array_equal(one, again)
    assert used == same
    assert sum(used) == 32
    assert min(used) > 8
    assert not np.array_equal(one, trained(3)[0])
