"""Teaching a network another's answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fednas.data import Rows, encode_rows, load_dataset, open_rows, split_rows
from fednas.models import build, initialise, start_architecture, to_vector
from fednas.spec import Sgd
from fednas.training import _distil as module_under_test
from fednas.training import answers, distil, train

SHAPE = (1, 8, 8)
ARCH = start_architecture("cnn", channels=1, size=8, classes=10, width_multiplier=0.25)


@pytest.fixture(scope="module")
def rows() -> Rows:
    data = load_dataset("digits")
    return open_rows(encode_rows(data.images[:300], data.labels[:300]))


@pytest.fixture(scope="module")
def teacher(rows: Rows) -> torch.nn.Module:
    module = build(ARCH, initialise(ARCH, 1))
    train(module, rows, SHAPE, epochs=8, batch_size=32, optimizer=Sgd(learning_rate=0.05), seed=1)
    return module.eval()


def taught(
    teacher: torch.nn.Module, rows: Rows, *, steps: int = 40, batch_size: int = 32, seed: int = 3
) -> torch.nn.Module:
    """Somebody who has forgotten a part of what the teacher knows."""
    knows = to_vector(teacher)
    forgotten = np.random.default_rng(2).uniform(0.9, 1.1, knows.size).astype(np.float32)
    module = build(ARCH, knows * forgotten)
    distil(
        module,
        teacher,
        rows,
        SHAPE,
        steps=steps,
        batch_size=batch_size,
        optimizer=Sgd(learning_rate=0.005),
        seed=seed,
    )
    return module


def divergence(module: torch.nn.Module, teacher: torch.nn.Module, rows: Rows) -> float:
    theirs, own = (answers(one.eval(), rows, SHAPE).log_softmax(1) for one in (teacher, module))
    return float((theirs.exp() * (theirs - own)).sum(1).mean())


def test_a_network_comes_nearer_to_its_teacher(teacher: torch.nn.Module, rows: Rows) -> None:
    before, after = (
        divergence(taught(teacher, rows, steps=steps), teacher, rows) for steps in (1, 200)
    )
    assert after < 0.5 * before


def test_batch_norm_statistics_stay_as_they_are(teacher: torch.nn.Module, rows: Rows) -> None:
    one, other = (dict(taught(teacher, rows, steps=steps).named_buffers()) for steps in (1, 20))
    assert one
    for name, buffer in one.items():
        assert torch.equal(buffer, other[name]), name


def test_labels_are_not_looked_at(teacher: torch.nn.Module, rows: Rows) -> None:
    images, labels = split_rows(rows, SHAPE)
    wrong = open_rows(encode_rows(images.copy(), (labels + 1) % 10))
    one, other = (to_vector(taught(teacher, some)) for some in (rows, wrong))
    assert (one == other).all()


def test_the_same_seed_gives_the_same_bits_and_another_others(
    teacher: torch.nn.Module, rows: Rows
) -> None:
    one, again, other = (to_vector(taught(teacher, rows, seed=seed)) for seed in (3, 3, 4))
    assert (one == again).all()
    assert (one != other).any()


def test_the_teacher_and_torchs_random_state_stay_as_they_are(
    teacher: torch.nn.Module, rows: Rows
) -> None:
    before, state = to_vector(teacher), torch.random.get_rng_state()
    taught(teacher, rows)
    assert (to_vector(teacher) == before).all()
    assert not teacher.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_step_size_falls_in_a_line(
    teacher: torch.nn.Module, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def noted(sgd: torch.optim.SGD) -> object:
        rates.append(sgd.param_groups[0]["lr"])
        return step(sgd)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    taught(teacher, rows, steps=4)
    assert rates == pytest.approx([0.005, 0.00375, 0.0025, 0.00125])


@pytest.mark.parametrize(("asked", "batch"), [(4, 4), (64, 10)])
def test_every_row_is_seen_before_one_comes_again(
    teacher: torch.nn.Module,
    rows: Rows,
    asked: int,
    batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    def noted(chosen: Rows, shape: tuple[int, int, int]) -> object:
        assert len(chosen) == batch
        seen.extend(row.tobytes() for row in chosen)
        return split_rows(chosen, shape)

    monkeypatch.setattr(module_under_test, "split_rows", noted)
    taught(teacher, rows[:10].copy(), steps=20 // batch, batch_size=asked)
    assert sorted(seen[:10]) == sorted(seen[10:]) == sorted(row.tobytes() for row in rows[:10])
