"""The registry of kinds: what a worker can be asked to do.

A kind is a function from a task and its blobs to blobs and numbers. It does no I/O of its own and
keeps nothing: given the same task it gives the same outputs, in any process that runs torch with
one thread. Local workers and remote clients run the same functions.

This module imports torch; only worker processes import it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fednas.data import Rows
from fednas.errors import Corrupt, TaskFailed
from fednas.federation import Task, weighted_mean
from fednas.models import Architecture, build, decode, encode, initialise, load_vector, to_vector
from fednas.resources import count_macs
from fednas.space import Space, derive, trace
from fednas.store import canonical_json, digest_of
from fednas.training import Sgd, evaluate, recalibrate, train

__all__ = ["KINDS", "Source", "Work", "execute", "numerics", "one_thread"]


class Source(Protocol):
    """Where a task's blobs come from."""

    def blob(self, digest: str) -> bytes:
        """A weight blob, verified."""

    def rows(self, digest: str) -> Rows:
        """A shard, uint8 [n, 2 + C*H*W], memory-mapped where it is a file."""

    def upload(self, key: str) -> bytes:
        """What a client uploaded: unverified bytes."""


@dataclass(frozen=True)
class Work:
    """What a kind gives: blobs by name, numbers, and the weight of the result in a mean."""

    outputs: dict[str, bytes] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    weight: float = 0.0


Kind = Callable[[Task, Source], Work]
KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    """Register a function under its name."""
    KINDS[function.__name__.strip("_")] = function
    return function


def execute(task: Task, source: Source) -> Work:
    """Do a task.

    Raises
    ------
    TaskFailed
        An unknown kind, or whatever went wrong in it.
    """
    try:
        return KINDS[task.kind](task, source)
    except KeyError:
        if task.kind in KINDS:
            raise
        known = ", ".join(sorted(KINDS))
        raise TaskFailed(f"kind {task.kind!r}: unknown; this worker knows {known}") from None


def one_thread() -> None:
    """Make this process compute the bits that every other worker computes."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def numerics() -> dict[str, str]:
    """What the bits depend on besides the task."""
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA", "default"),
        "numpy": np.__version__.rpartition(".")[0],
    }


@lru_cache(maxsize=32)
def _module(key: str) -> nn.Module:
    return build(Architecture.model_validate_json(key))


def _loaded(params: Mapping[str, Any], blob: bytes) -> tuple[Architecture, nn.Module]:
    architecture = Architecture.model_validate(params["architecture"])
    module = _module(architecture.key())
    load_vector(module, decode(blob))
    return architecture, module


def _weights(vector: npt.NDArray[np.float32]) -> tuple[dict[str, bytes], dict[str, float]]:
    blob = encode(vector)
    return {"weights": blob}, {"bytes": len(blob)}


@kind
def _train(task: Task, source: Source) -> Work:
    """One client's local training: inputs weights, data shard; weight = samples of the shard."""
    architecture, module = _loaded(task.params, source.blob(task.inputs["weights"]))
    rows = source.rows(task.data["shard"])
    trained = train(
        module,
        rows,
        architecture.input_shape,
        epochs=task.params["epochs"],
        batch_size=task.params["batch_size"],
        optimizer=Sgd(**task.params["optimizer"]),
        seed=task.seed,
    )
    vector = to_vector(module)
    if not (math.isfinite(trained.loss) and np.isfinite(vector).all()):
        raise TaskFailed(
            f"training diverged (loss {trained.loss:g}); lower the optimizer's learningRate"
        )
    outputs, scalars = _weights(vector)
    scalars |= {"samples": trained.samples, "loss": trained.loss}
    return Work(outputs, scalars, weight=len(rows))


@kind
def _evaluate(task: Task, source: Source) -> Work:
    """Count right answers on a shard; with calibration rows, after recomputing batch-norm's."""
    architecture, module = _loaded(task.params, source.blob(task.inputs["weights"]))
    outputs: dict[str, bytes] = {}
    scalars: dict[str, float] = {}
    if "calibration" in task.data:
        recalibrate(module, source.rows(task.data["calibration"]), architecture.input_shape)
        outputs, scalars = _weights(to_vector(module))
    rows = source.rows(task.data["shard"])
    counted = evaluate(module, rows, architecture.input_shape)
    scalars |= {"correct": counted.correct, "total": counted.total, "loss": counted.loss_sum}
    return Work(outputs, scalars, weight=len(rows))


@kind
def _aggregate(task: Task, source: Source) -> Work:
    """The mean of the inputs (client -> weights) by ``weights`` (client -> samples)."""
    weights = task.params["weights"]
    updates = ((decode(source.blob(task.inputs[c])), weights[c]) for c in sorted(task.inputs))
    return Work(*_weights(weighted_mean(updates)))


@kind
def _derive(task: Task, source: Source) -> Work:
    """Cut the weights of ``parent`` down to the widths of ``child``; recount the child's MACs."""
    space = Space.from_json(source.blob(task.inputs["space"]))
    child = Architecture.model_validate(task.params["child"])
    vector = derive(
        space,
        Architecture.model_validate(task.params["parent"]),
        decode(source.blob(task.inputs["weights"])),
        child,
    )
    counted = count_macs(build(child, vector), torch.zeros(1, *child.input_shape))
    assert counted == space.macs(child.widths), (counted, child)
    return Work(*_weights(vector))


@kind
def _initialise(task: Task, source: Source) -> Work:
    """Untrained weights."""
    architecture = Architecture.model_validate(task.params["architecture"])
    return Work(*_weights(initialise(architecture, task.seed)))


@kind
def _trace(task: Task, source: Source) -> Work:
    """The space of a network, and the numerics of this machine."""
    space = trace(Architecture.model_validate(task.params["architecture"]))
    return Work({"space": space.to_json(), "numerics": canonical_json(numerics())})


@kind
def _accept(task: Task, source: Source) -> Work:
    """Check an upload (``upload``: its key) before it counts: digest, form, length, finite."""
    blob = source.upload(task.params["upload"])
    if digest_of(blob) != task.params["digest"]:
        raise TaskFailed("update: its bytes do not have the digest that was reported")
    try:
        vector = decode(blob)
    except Corrupt as error:
        raise TaskFailed(f"update: {error}") from None
    if vector.size != task.params["elements"]:
        raise TaskFailed(f"update: has {vector.size} numbers, not {task.params['elements']}")
    if not np.isfinite(vector).all():
        raise TaskFailed("update: holds NaN or infinity")
    return Work({"weights": blob}, {"bytes": len(blob)})
