"""A kind with two named outputs, through a round and its average, done for real in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from fednas.federation import Cohort, Federation, Gathering, Member, Round, RoundId
from fednas.models import Model, decode, encode, start_architecture
from fednas.store import digest_of
from fednas.work import (
    KINDS,
    Kind,
    Output,
    Params,
    Pending,
    Source,
    Task,
    TaskResult,
    Work,
    execute,
)

NETWORK = start_architecture("cnn", channels=1, size=8, classes=10)
MEMBERS = {"a": 1, "b": 3}
"""Clients, and how much each adds to what it was given: also the samples that it has."""


class MemoryFleet:
    """Does every task at once; blobs lie in a dict."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {digest_of(blob): blob for blob in blobs}

    def blob(self, digest: str) -> bytes:
        return self.blobs[digest]

    def rows(self, digest: str) -> Any:
        raise AssertionError

    def upload(self, key: str) -> bytes:
        raise AssertionError

    def submit(self, task: Task) -> Pending:
        work = execute(task, self)
        named = {name: digest_of(blob) for name, blob in work.outputs.items()}
        self.blobs |= {named[name]: blob for name, blob in work.outputs.items()}
        pending = Pending(task)
        pending.started.set_result(0.0)
        pending.future.set_result(
            TaskResult(
                outputs=named,
                sizes={name: len(blob) for name, blob in work.outputs.items()},
                sums=work.sums,
                weight=work.weight,
            )
        )
        return pending

    def cancel(self, pending: Pending) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


class Step(Params):
    """By how much alphas move, in what a client adds."""

    rate: float


def run(task: Task, params: Step, source: Source) -> Work:
    added = np.float32(MEMBERS[task.client])
    weights = decode(source.blob(task.inputs["weights"]))
    alphas = decode(source.blob(task.inputs["alphas"]))
    return Work(
        {"weights": encode(weights + added), "alphas": encode(alphas + added * params.rate)},
        {"entropy": float(added)},
    )


STEP = Kind(
    "step",
    Step,
    run,
    outputs=(Output("weights"), Output("alphas", like="alphas")),
    sums=("entropy",),
    samples=lambda params, rows: 2 * rows,
    passes=5,
)


def test_each_output_of_a_kind_is_averaged_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "step", STEP)
    weights, alphas = encode(np.zeros(6, np.float32)), encode(np.full(2, 100, np.float32))
    fleet = MemoryFleet(weights, alphas)
    model = Model(NETWORK, {"weights": digest_of(weights), "alphas": digest_of(alphas)})
    id = RoundId(1, "pre", "conv", 1)
    federation = Federation(
        Gathering(fleet, {}, timeout=None, on_done=lambda done: None),
        seed=7,
        members={name: Member(f"shard of {name}", samples) for name, samples in MEMBERS.items()},
        validation="v",
        calibration="c",
        space="s",
        refit=True,
        quorum=1.0,
    )

    async def play() -> tuple[Any, Model]:
        closing = await federation.train(
            Round(id, model, 100, STEP, Step(rate=-2), lambda attempt: Cohort(tuple(MEMBERS)))
        )
        assert closing.updates is not None
        return closing.updates, model.having(await federation.aggregate(id, closing.updates))

    updates, after = asyncio.run(play())
    # By samples: (1 * 1 + 3 * 3) / 4 = 2.5.
    assert decode(fleet.blob(after.blobs["weights"])).tolist() == [2.5] * 6
    assert decode(fleet.blob(after.blobs["alphas"])).tolist() == [95.0] * 2
    assert updates.digests.keys() == {"weights", "alphas"}
    assert updates.counts["trained"].tolist() == [2, 6]
    assert updates.counts["macs"].tolist() == [5 * 100 * 2, 5 * 100 * 6]
    size = len(weights) + len(alphas)
    assert updates.counts["bytes_up"].tolist() == [size, size]
    assert updates.mean("entropy") == pytest.approx(2.5)
