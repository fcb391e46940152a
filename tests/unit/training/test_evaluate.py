import numpy as np
import pytest
import torch
from torch.nn import functional

from fednas.data import split_rows
from fednas.spec import Normalize, Sgd
from fednas.training import answers, evaluate, judge, normalise, recalibrate, train

SHAPE = (1, 8, 8)


@pytest.fixture
def trained(make_network, rows):
    network = make_network()
    train(network, rows, SHAPE, epochs=3, batch_size=32, optimizer=Sgd(learning_rate=0.05), seed=0)
    return network


def test_counts_equal_a_direct_computation(trained, rows):
    evaluated = evaluate(trained, rows, SHAPE, batch_size=100)
    images, labels = split_rows(np.array(rows), SHAPE)
    with torch.no_grad():
        logits = trained.eval()(normalise(images))
    assert evaluated.total == 256
    assert evaluated.correct == (logits.argmax(1).numpy() == labels).sum() > 200
    losses = functional.cross_entropy(logits, torch.from_numpy(labels), reduction="sum")
    assert evaluated.loss_sum == pytest.approx(losses.item(), rel=1e-5)


def test_the_divergence_is_that_of_kullback_and_leibler(trained, make_network, rows):
    other = make_network()
    reference = answers(other, rows, SHAPE, batch_size=100)
    assert reference.exp().sum(1).numpy() == pytest.approx(1, rel=1e-5)
    evaluated = evaluate(trained, rows, SHAPE, reference=reference)
    images, _ = split_rows(np.array(rows), SHAPE)
    with torch.no_grad():
        p, q = (
            torch.softmax(network.eval()(normalise(images)).double(), 1)
            for network in (other, trained)
        )
    each = (p * (p / q).log()).sum(1)
    assert evaluated.divergence_sum == pytest.approx(each.sum().item(), rel=1e-4)
    assert evaluated.divergence_sum > 1
    assert evaluated.loss_sum == evaluate(trained, rows, SHAPE).loss_sum
    by_row, _ = judge(trained, rows, SHAPE, reference=reference)
    assert by_row == pytest.approx(each.numpy(), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("batch_size", [100, 128, 256])
def test_what_is_judged_row_by_row_adds_up_to_the_evaluation(trained, rows, batch_size):
    losses, right = judge(trained, rows, SHAPE, batch_size)
    evaluated = evaluate(trained, rows, SHAPE, batch_size)
    assert (losses.shape, right.shape) == ((256,), (256,))
    assert losses.min() > 0
    assert losses.sum() == pytest.approx(evaluated.loss_sum, rel=1e-5)
    assert right.sum() == evaluated.correct < 256
    assert losses[right].mean() < losses[~right].mean()


def test_evaluation_changes_no_weight_and_no_statistic(trained, rows):
    before = {key: tensor.clone() for key, tensor in trained.state_dict().items()}
    evaluate(trained, rows, SHAPE)
    assert not trained.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in trained.state_dict().items())


def test_recalibration_gives_the_statistics_of_the_samples_whatever_was_there(trained, rows):
    trained[1].running_mean.fill_(5)
    trained[1].running_var.fill_(9)
    broken = evaluate(trained, rows, SHAPE).correct
    recalibrate(trained, rows, SHAPE, batch_size=256)
    with torch.no_grad():
        features = trained[0](normalise(split_rows(np.array(rows), SHAPE)[0]))
    assert torch.allclose(trained[1].running_mean, features.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(trained[1].running_var, features.var((0, 2, 3)), rtol=1e-4)
    assert evaluate(trained, rows, SHAPE).correct > broken


def test_recalibration_is_idempotent_and_leaves_the_rest(trained, rows):
    before = {key: tensor.clone() for key, tensor in trained.state_dict().items()}
    recalibrate(trained, rows[:150], SHAPE, batch_size=64)
    once = {key: tensor.clone() for key, tensor in trained.state_dict().items()}
    recalibrate(trained, rows[:150], SHAPE, batch_size=64)
    for key, tensor in trained.state_dict().items():
        assert torch.equal(tensor, once[key]), key
        if "running" not in key and "tracked" not in key:
            assert torch.equal(tensor, before[key]), key
    assert trained[1].momentum == 0.1
    assert not trained[1].training


def test_evaluation_and_recalibration_read_pixels_at_the_scale_they_are_told(trained, rows):
    scale = Normalize(mean=(0.2,), std=(0.5,))
    images = normalise(split_rows(np.array(rows), SHAPE)[0], scale)
    recalibrate(trained, rows, SHAPE, batch_size=256, normalize=scale)
    with torch.no_grad():
        features = trained[0](images)
        logits = trained.eval()(images)
    assert torch.allclose(trained[1].running_mean, features.mean((0, 2, 3)), atol=1e-5)
    told = evaluate(trained, rows, SHAPE, normalize=scale)
    _, labels = split_rows(np.array(rows), SHAPE)
    assert told.correct == (logits.argmax(1).numpy() == labels).sum()
    assert told.loss_sum != evaluate(trained, rows, SHAPE).loss_sum


def test_a_network_without_batch_norm_is_left_alone(make_network, rows):
    network = make_network(norm=False)
    before = evaluate(network, rows, SHAPE)
    recalibrate(network, rows, SHAPE)
    assert evaluate(network, rows, SHAPE) == before


def test_what_was_evaluated_can_be_trained(make_network, rows):
    """A worker keeps its modules: the next task may train what the last one evaluated."""
    network = make_network()
    evaluate(network, rows, (1, 8, 8))
    trained = train(
        network,
        rows,
        (1, 8, 8),
        epochs=0.5,
        batch_size=32,
        optimizer=Sgd(learning_rate=0.1),
        seed=0,
    )
    assert np.isfinite(trained.loss)
