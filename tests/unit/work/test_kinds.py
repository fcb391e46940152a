"""The kinds of work, one by one, with torch in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from fednas.data import encode_rows, load_dataset, open_rows
from fednas.errors import Corrupt, TaskFailed, TrainingDiverged
from fednas.fleet import _worker
from fednas.models import decode, encode, start_architecture
from fednas.space import Space
from fednas.store import digest_of
from fednas.work import KINDS, TRAIN, Task, Work, execute, learnt, trained_samples, weighted_mean
from fednas.work._modules import ModuleCache, _cache

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10, width_multiplier=0.25)
DIGITS = load_dataset("digits")
SGD = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0}


class MemorySource:
    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {digest_of(blob): blob for blob in blobs}

    def blob(self, digest: str) -> bytes:
        return self.blobs[digest]

    def rows(self, digest: str) -> Any:
        return open_rows(self.blobs[digest])

    def upload(self, key: str) -> bytes:
        return self.blobs[key]


def task(kind: str, **fields: Any) -> Task:
    return Task(id=f"1/{kind}", kind=kind, client="c", **fields)


def shard(count: int, start: int = 0) -> bytes:
    chosen = slice(start, start + count)
    return encode_rows(DIGITS.images[chosen], DIGITS.labels[chosen])


@pytest.fixture(autouse=True)
def _as_in_a_worker() -> Iterator[None]:
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    _worker.one_thread()
    yield
    torch.use_deterministic_algorithms(before)
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.fixture(scope="module")
def weights() -> bytes:
    made = execute(
        task("initialise", params={"architecture": NETWORK.model_dump()}), MemorySource()
    )
    return made.outputs["weights"]


def trained(
    weights: bytes, rows: bytes, seed: int = 1, more: Mapping[str, Any] = {}, **changes: Any
) -> Work:
    params = {
        "architecture": NETWORK.model_dump(),
        "epochs": 1.5,
        "batch_size": 16,
        "sgd": SGD | changes,
        **more,
    }
    return execute(
        task(
            "train",
            inputs={"weights": digest_of(weights)},
            data={"shard": digest_of(rows)},
            params=params,
            seed=seed,
        ),
        MemorySource(weights, rows),
    )


def test_training_gives_new_weights_and_weighs_by_samples(weights: bytes) -> None:
    work = trained(weights, shard(40))
    assert decode(work.outputs["weights"]).size == decode(weights).size
    assert work.outputs["weights"] != weights
    assert work.weight == 40
    assert work.sums["samples"] == trained_samples(40, 1.5, 16)


def test_the_same_task_gives_the_same_bits_and_another_seed_others(weights: bytes) -> None:
    rows = shard(40)
    assert trained(weights, rows).outputs == trained(weights, rows).outputs
    assert trained(weights, rows).outputs != trained(weights, rows, seed=2).outputs


def test_augmentation_and_scale_change_the_update_and_their_absence_does_not(
    weights: bytes,
) -> None:
    rows, plain = shard(40), trained(weights, shard(40)).outputs
    assert trained(weights, rows, more={"augment": []}).outputs == plain
    scaled = NETWORK.model_dump()
    scaled["args"] |= {"inputMean": [0.2], "inputStd": [0.5]}
    usual = NETWORK.model_dump()
    usual["args"] |= {"inputMean": [0.5], "inputStd": [0.25]}
    assert trained(weights, rows, more={"architecture": usual}).outputs == plain
    found = {
        json.dumps(more): trained(weights, rows, more=more).outputs["weights"]
        for more in ({"augment": ["flip"]}, {"augment": ["crop"]}, {"architecture": scaled})
    }
    assert len({plain["weights"], *found.values()}) == 4


def test_training_that_diverges_gives_no_update(weights: bytes) -> None:
    with pytest.raises(
        TrainingDiverged, match=r"training diverged.*lower the optimizer's learningRate"
    ):
        trained(encode(decode(weights) * np.float32(1e30)), shard(60))


def test_evaluation_counts_and_recalibrates_only_where_asked(weights: bytes) -> None:
    rows = shard(50)
    given = {
        "inputs": {"weights": digest_of(weights)},
        "params": {"architecture": NETWORK.model_dump()},
    }
    source = MemorySource(weights, rows)
    plain = execute(task("evaluate", data={"shard": digest_of(rows)}, **given), source)
    assert plain.outputs == {}
    assert 0 <= plain.sums["correct"] <= plain.sums["total"] == 50
    both = {"shard": digest_of(rows), "calibration": digest_of(rows)}
    calibrated = execute(task("evaluate", data=both, **given), source)
    assert decode(calibrated.outputs["weights"]).size == decode(weights).size


def test_an_evaluation_tells_how_far_answers_are_from_those_of_a_reference(weights: bytes) -> None:
    rows, more = shard(150), shard(40)
    other = trained(weights, rows).outputs["weights"]
    source = MemorySource(weights, other, rows, more)

    def divergence(one: bytes, reference: bytes, shard: bytes = rows) -> float:
        given = {
            "inputs": {"weights": digest_of(one), "reference": digest_of(reference)},
            "params": {"architecture": NETWORK.model_dump(), "reference": NETWORK.model_dump()},
            "data": {"shard": digest_of(shard)},
        }
        done = execute(task("evaluate", **given), source)
        alone = given | {"params": {"architecture": NETWORK.model_dump()}}
        plain = execute(task("evaluate", **alone), source)
        assert done.sums == {**plain.sums, "divergence": done.sums["divergence"]}
        return done.sums["divergence"]

    assert divergence(weights, weights) == pytest.approx(0, abs=1e-4)
    assert divergence(other, weights) > 1
    assert divergence(other, other) == pytest.approx(0, abs=1e-4)
    assert divergence(other, weights, more) != divergence(other, weights)
    sums = compared(source, weights, other, rows, reference=weights)
    assert sums["difference"] == pytest.approx(divergence(other, weights), rel=1e-5)


def compared(
    source: MemorySource, one: bytes, two: bytes, rows: bytes, reference: bytes | None = None
) -> dict[str, float]:
    given = {} if reference is None else {"reference": reference}
    done = execute(
        task(
            "compare",
            inputs={
                "weights": digest_of(one),
                "rival": digest_of(two),
                **{name: digest_of(blob) for name, blob in given.items()},
            },
            params={
                "architecture": NETWORK.model_dump(),
                "rival": NETWORK.model_dump(),
                **{name: NETWORK.model_dump() for name in given},
            },
            data={"shard": digest_of(rows)},
        ),
        source,
    )
    assert done.outputs == {}
    return done.sums


def test_a_comparison_counts_what_two_evaluations_differ_by(weights: bytes) -> None:
    rows = shard(300)
    other = trained(weights, rows).outputs["weights"]
    source = MemorySource(weights, other, rows)
    given = {"params": {"architecture": NETWORK.model_dump()}, "data": {"shard": digest_of(rows)}}
    one, two = (
        execute(task("evaluate", inputs={"weights": digest_of(blob)}, **given), source).sums
        for blob in (other, weights)
    )
    sums = compared(source, other, weights, rows)
    assert sums["samples"] == 300
    assert sums["difference"] == pytest.approx(two["loss"] - one["loss"], rel=1e-5)
    assert sums["difference"] != 0
    assert sums["squares"] > sums["difference"] ** 2 / 300
    assert sums["won"] - sums["lost"] == one["correct"] - two["correct"]
    assert 0 < sums["won"] <= 300 - two["correct"]


def test_a_comparison_the_other_way_round_has_the_other_sign(weights: bytes) -> None:
    rows = shard(150)
    other = trained(weights, rows).outputs["weights"]
    source = MemorySource(weights, other, rows)
    there, back = compared(source, other, weights, rows), compared(source, weights, other, rows)
    assert there["difference"] == -back["difference"] != 0
    assert (there["won"], there["lost"]) == (back["lost"], back["won"])
    assert there["squares"] == back["squares"]


def test_a_network_compared_with_itself_is_no_better(weights: bytes) -> None:
    rows = shard(50)
    sums = compared(MemorySource(weights, rows), weights, weights, rows)
    assert sums == {"difference": 0, "squares": 0, "won": 0, "lost": 0, "samples": 50}


def test_the_aggregate_is_the_mean_in_the_order_of_clients(weights: bytes) -> None:
    a, b = decode(weights), decode(weights) + np.float32(1)
    blobs = {"z": encode(a), "b": encode(b)}
    work = execute(
        task(
            "aggregate",
            inputs={client: digest_of(blob) for client, blob in blobs.items()},
            params={"weights": {"z": 1, "b": 3}},
        ),
        MemorySource(*blobs.values()),
    )
    expected = weighted_mean([(b, 3), (a, 1)])
    assert decode(work.outputs["mean"]).tobytes() == expected.tobytes()


def test_a_traced_space_cuts_weights_for_its_children(weights: bytes) -> None:
    traced = execute(task("trace", params={"architecture": NETWORK.model_dump()}), MemorySource())
    numerics = json.loads(traced.outputs["numerics"])
    assert set(numerics) == {"torch", "cpu", "numpy", "digest"}
    assert len(Space.from_json(traced.outputs["space"]).groups) == 4
    child = NETWORK.with_widths((8, 4, 8, 8))
    work = execute(
        task(
            "derive",
            inputs={"weights": digest_of(weights), "space": digest_of(traced.outputs["space"])},
            params={"parent": NETWORK.model_dump(), "child": child.model_dump()},
        ),
        MemorySource(weights, traced.outputs["space"]),
    )
    assert 0 < decode(work.outputs["weights"]).size < decode(weights).size


def halved(weights: bytes, rows: bytes | None) -> Work:
    """NETWORK cut to half of every layer, refitted on these rows."""
    params = {"architecture": NETWORK.model_dump()}
    space = execute(task("trace", params=params), MemorySource()).outputs["space"]
    child = NETWORK.with_widths([width // 2 for width in NETWORK.widths])
    return execute(
        task(
            "derive",
            inputs={"weights": digest_of(weights), "space": digest_of(space)},
            data={} if rows is None else {"calibration": digest_of(rows)},
            params={"parent": NETWORK.model_dump(), "child": child.model_dump()},
        ),
        MemorySource(weights, space, rows or b""),
    )


def recalibrated(cut: bytes, calibration: bytes, rows: bytes) -> Work:
    """What `halved` gave, evaluated with statistics of the calibration rows."""
    child = NETWORK.with_widths([width // 2 for width in NETWORK.widths])
    return execute(
        task(
            "evaluate",
            inputs={"weights": digest_of(cut)},
            data={"shard": digest_of(rows), "calibration": digest_of(calibration)},
            params={"architecture": child.model_dump()},
        ),
        MemorySource(cut, calibration, rows),
    )


def test_with_calibration_rows_a_cut_network_is_refitted_and_makes_fewer_mistakes(
    weights: bytes,
) -> None:
    start = weights
    for seed in range(4):
        start = trained(start, shard(600), seed, learning_rate=0.1).outputs["weights"]
    rows, unseen = shard(300), shard(300, 700)
    losses = []
    for calibration in (None, rows):
        cut = halved(start, calibration).outputs["weights"]
        losses.append(recalibrated(cut, rows, unseen).sums["loss"])
    assert losses[1] < 0.9 * losses[0]


def test_refitting_needs_no_labels_and_gives_the_same_bits(weights: bytes) -> None:
    images, labels = DIGITS.images[:100], DIGITS.labels[:100]
    right, wrong = encode_rows(images, labels), encode_rows(images, (labels + 1) % 10)
    assert right != wrong
    assert halved(weights, right).outputs == halved(weights, wrong).outputs
    assert halved(weights, right).outputs == halved(weights, right).outputs
    assert halved(weights, right).outputs != halved(weights, None).outputs


def test_no_more_rows_are_refitted_on_than_memory_allows(
    weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classifier(rows: bytes) -> bytes:
        return decode(halved(weights, rows).outputs["weights"])[-10:].tobytes()

    monkeypatch.setattr("fednas.work.derive.PIXELS", 50 * 8 * 8)
    first = classifier(shard(50))
    assert classifier(shard(90)) == first
    assert classifier(shard(49)) != first


@pytest.mark.parametrize("refitted_on", [90, 50])
def test_the_statistics_of_a_refitted_network_are_those_of_all_calibration_rows(
    weights: bytes, monkeypatch: pytest.MonkeyPatch, refitted_on: int
) -> None:
    monkeypatch.setattr("fednas.work.derive.PIXELS", refitted_on * 8 * 8)
    rows = shard(90)
    cut = halved(weights, rows).outputs["weights"]
    again = recalibrated(cut, rows, rows)
    np.testing.assert_allclose(decode(again.outputs["weights"]), decode(cut), rtol=1e-4, atol=1e-5)


# --- uploads of clients --------------------------------------------------------------------------


def accepted(upload: bytes, *, digest: str | None = None, elements: int = 3) -> Work:
    params = {
        "upload": digest_of(upload),
        "digest": digest or digest_of(upload),
        "elements": elements,
    }
    return execute(task("accept", params=params), MemorySource(upload))


def vector(*values: float) -> bytes:
    return encode(np.array(values, np.float32))


def test_a_right_update_is_accepted_as_it_is() -> None:
    blob = vector(1, 2, 3)
    assert accepted(blob).outputs == {"update": blob}


@pytest.mark.parametrize(
    ("upload", "changes", "wrong"),
    [
        (vector(1, 2, 3), {"digest": "0" * 64}, "digest that was reported"),
        (vector(1, 2), {}, "has 2 numbers, not 3"),
        (vector(1, 2, 3, 4), {}, "has 4 numbers, not 3"),
        (vector(1, float("nan"), 3), {}, "NaN or infinity"),
        (vector(1, float("-inf"), 3), {}, "NaN or infinity"),
        (vector(1, 2, 3)[:-1], {}, "not safetensors"),
        (b"", {}, "not safetensors"),
        (b"\x80\x04N.", {}, "not safetensors"),
    ],
)
def test_a_wrong_update_is_the_client_s_failure(
    upload: bytes, changes: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(TaskFailed, match=wrong):
        accepted(upload, **changes)


def test_damaged_inputs_are_corrupt_and_not_a_client_s_failure(weights: bytes) -> None:
    with pytest.raises(Corrupt):
        trained(weights[:-9], shard(10))
    with pytest.raises(Corrupt):
        trained(weights, shard(10)[:-9])


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        TaskFailed, match=r"kind 'gradients': unknown; .* aggregate, arrange, compare"
    ):
        execute(task("gradients"), MemorySource())
    assert "train" in KINDS


def test_a_kind_without_its_parameter_says_which() -> None:
    with pytest.raises(TaskFailed, match=r"params\.upload: Field required"):
        execute(task("accept"), MemorySource())


# --- what a worker keeps -------------------------------------------------------------------------


def test_a_worker_fills_no_fresh_memory() -> None:
    import torch

    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_kept_modules_are_bounded_in_bytes_and_the_last_one_stays() -> None:
    networks = [NETWORK.with_widths((8, 8, 8, width)) for width in range(1, 9)]
    one = ModuleCache(1)
    for network in networks:
        one.get(network)
    assert one.bytes > 0
    assert one.get(networks[-1]) is one.get(networks[-1])
    sizes = [ModuleCache(1) for _ in networks]
    for cache, network in zip(sizes, networks, strict=True):
        cache.get(network)
    limit = sum(cache.bytes for cache in sizes[-3:])
    several = ModuleCache(limit)
    kept = [several.get(network) for network in networks]
    assert several.bytes <= limit
    assert several.get(networks[-1]) is kept[-1]
    assert several.get(networks[0]) is not kept[0]


def test_no_gradients_are_kept_after_training(weights: bytes) -> None:
    trained(weights, shard(40))
    kept = [module for module, _ in _cache._modules.values()]
    assert kept
    assert all(parameter.grad is None for module in kept for parameter in module.parameters())


def test_gradients_that_a_failed_task_left_are_dropped() -> None:
    import torch

    cache = ModuleCache(1)
    for parameter in cache.get(NETWORK).parameters():
        parameter.grad = torch.ones_like(parameter)
    assert all(parameter.grad is None for parameter in cache.get(NETWORK).parameters())


def test_what_training_costs_is_declared_with_the_kind() -> None:
    params = TRAIN.params.model_validate(
        {"architecture": NETWORK, "epochs": 1.5, "batch_size": 16, "sgd": SGD}
    )
    assert TRAIN.samples(params, 40) == trained_samples(40, 1.5, 16) == 64
    assert TRAIN.passes == 3
    assert [output.name for output in TRAIN.outputs] == ["weights"]


# --- clipped updates -----------------------------------------------------------------------------


def sent(weights: bytes, rows: bytes, clip_norm: float, **changes: Any) -> Work:
    params = {
        "architecture": NETWORK.model_dump(),
        "epochs": 1.5,
        "batch_size": 16,
        "sgd": SGD | changes,
        "clip_norm": clip_norm,
    }
    return execute(
        task(
            "trainClipped",
            inputs={"weights": digest_of(weights)},
            data={"shard": digest_of(rows)},
            params=params,
            seed=1,
        ),
        MemorySource(weights, rows),
    )


def test_a_clipped_update_is_what_training_changed_but_for_the_statistics(weights: bytes) -> None:
    from fednas.models import build, layout

    rows = shard(40)
    update = decode(sent(weights, rows, 1e6).outputs["update"])
    whole = decode(trained(weights, rows).outputs["weights"]) - decode(weights)
    mask = learnt(layout(build(NETWORK)))
    assert 0 < (~mask).sum() < mask.size
    np.testing.assert_allclose(update[mask], whole[mask], atol=1e-6)
    assert np.abs(whole[~mask]).max() > 0
    assert not update[~mask].any()


def test_no_client_sends_more_than_the_norm_nor_its_loss(weights: bytes) -> None:
    work = sent(weights, shard(40), 0.01)
    assert np.linalg.norm(decode(work.outputs["update"])) == pytest.approx(0.01, rel=1e-5)
    assert set(work.sums) == {"samples"}
    assert work.weight == sent(weights, shard(60), 0.01).weight


def test_that_training_diverged_is_not_told(weights: bytes) -> None:
    rows, huge = shard(40), encode(np.full_like(decode(weights), 1e30))
    with pytest.raises(TrainingDiverged):
        trained(huge, rows)
    work = sent(huge, rows, 1.0)
    assert not decode(work.outputs["update"]).any()
    assert set(work.sums) == {"samples"}
