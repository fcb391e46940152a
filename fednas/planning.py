"""What a search will cost, before it starts: its forecast, and how long this machine would take.

plan = fednas.plan("search.yaml")
plan.forecast.most.search.macs             # of all clients together
plan.seconds                               # at least, at most
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fednas.data import Rows, Shards, open_rows
from fednas.fleet import available_cpus
from fednas.local import local_shards, local_table, start_network
from fednas.search import Expense, Forecast, forecast
from fednas.space import Space, trace
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Blobs, FolderStore, Layout, digest_of
from fednas.work import (
    DERIVE,
    EVALUATE,
    INITIALISE,
    TRAIN,
    Derive,
    Evaluate,
    Initialise,
    Kind,
    Params,
    Train,
)

__all__ = ["Plan", "plan"]

_BATCHES = 6
"""That the probe trains, and no more: a client may hold thousands."""

_ROWS = 512
"""That the probe evaluates, at most."""


@dataclass(frozen=True)
class Plan:
    """What a search is expected to take.

    Parameters
    ----------
    forecast : Forecast
        What it costs clients and cloud.
    workers : int
        Processes, one torch thread each.
    seconds : (float, float)
        On this machine: if the leader of each iteration stays the same, and if no phase ends
        early.
    """

    forecast: Forecast
    workers: int
    seconds: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase."""
        least, most = self.seconds
        return {
            **self.forecast.to_dict(),
            "workers": self.workers,
            "seconds": {"least": least, "most": most},
        }


def plan(
    spec: FederatedSearch | str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Plan:
    """Predict what `fednas.run` would cost. Writes nothing that stays, and searches nothing.

    The data are cut into shards as a search would, since who has how many samples decides what a
    round costs. The time is that of a few batches of the starting network in this process, scaled
    by multiply-accumulates; what processes and files take by themselves is not in it.

    Parameters
    ----------
    spec : FederatedSearch or path
    data : path, optional
        Used in place of ``data.source``: a local copy of what the cluster reads from S3.
    workers : int, optional
        Processes; by default as many as this process may use CPUs.
    clock : callable
        Seconds.

    Raises
    ------
    BadInput
        The spec or the data are not right, or lie in a cluster's store.
    """
    search = spec if isinstance(spec, FederatedSearch) else load_spec(spec)
    workers = workers or available_cpus()
    with TemporaryDirectory(prefix="fednas-plan-") as folder:
        store, layout = FolderStore(Path(folder)), Layout()
        shards = local_shards(search, store, layout, data)
        space = trace(start_network(search, shards.input, shards.classes))
        foreseen = forecast(
            search, space, shards, tables=Blobs(store, layout.tables), read=local_table
        )
        speed = _probe(search, space, shards, Blobs(store, layout.data), clock)
    return Plan(
        foreseen,
        workers,
        (
            speed.seconds(foreseen, foreseen.least, workers),
            speed.seconds(foreseen, foreseen.most, workers),
        ),
    )


# --- how fast this machine is --------------------------------------------------------------------


@dataclass(frozen=True)
class _Speed:
    """Seconds a multiply-accumulate: of training, of evaluation, and of a network that is cut."""

    train: float
    evaluate: float
    cut: float

    def seconds(self, foreseen: Forecast, expense: Expense, workers: int) -> float:
        """Of so many threads; a network is taught by one, and the next stage waits for it."""
        trained = expense.search.macs + foreseen.initial.macs + foreseen.final.macs
        spread = trained * self.train + expense.evaluated * self.evaluate + foreseen.cut * self.cut
        taught = sum(max(sum(one) / workers, *one) for one in foreseen.lessons if one)
        return spread / workers + taught * self.train


class _Held:
    """Blobs and rows in memory, for tasks to read."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._rows: dict[str, Rows] = {}

    def keep(self, blob: bytes) -> str:
        """Its digest."""
        digest = digest_of(blob)
        self._blobs[digest] = blob
        return digest

    def hold(self, name: str, rows: Rows) -> None:
        """Rows under a name."""
        self._rows[name] = rows

    def blob(self, digest: str) -> bytes:
        """What was kept."""
        return self._blobs[digest]

    def rows(self, digest: str) -> Rows:
        """What is held."""
        return self._rows[digest]

    def upload(self, key: str) -> bytes:
        """No task of the probe reads one."""
        raise AssertionError(key)


def _probe(
    search: FederatedSearch,
    space: Space,
    shards: Shards,
    blobs: Blobs,
    clock: Callable[[], float],
) -> _Speed:
    """Time the tasks of a search themselves, on a few rows of its data, by one thread."""
    import torch

    spec, network, held = search.spec, space.start, _Held()
    first = min(shards.clients)
    batch = min(spec.training.batch_size, shards.clients[first].samples)
    for name, digest, most in (
        ("train", shards.clients[first].shard, _BATCHES * batch),
        ("validation", shards.validation.shard, _ROWS),
        ("calibration", shards.calibration.shard, _ROWS),
    ):
        rows = open_rows(blobs.get(digest))
        held.hold(name, np.ascontiguousarray(rows[:most]))
    made = INITIALISE.execute(INITIALISE.task("probe", Initialise(architecture=network)), held)
    weights, cut = held.keep(made.outputs["weights"]), held.keep(space.to_json())
    params = Train.by(spec.training, spec.data, network).model_copy(update={"epochs": 1.0})
    child = network.with_widths([max(1, width - 1) for width in network.widths])

    def timed(
        kind: Kind[Any], params: Params, inputs: dict[str, str], data: dict[str, str]
    ) -> float:
        task = kind.task("probe", params, inputs=inputs, data=data)
        kind.execute(task, held)  # the first takes longer
        began = clock()
        kind.execute(task, held)
        return clock() - began

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training = timed(TRAIN, params, {"weights": weights}, {"shard": "train"})
        evaluation = timed(
            EVALUATE,
            Evaluate(architecture=network),
            {"weights": weights},
            {"shard": "validation", "calibration": "calibration"},
        )
        cutting = timed(
            DERIVE,
            Derive(parent=network, child=child),
            {"weights": weights, "space": cut},
            {"calibration": "calibration"} if spec.refit else {},
        )
    finally:
        torch.set_num_threads(threads)
    macs = space.macs(network.widths)
    trained = TRAIN.samples(params, len(held.rows("train")))
    counted = len(held.rows("validation")) + len(held.rows("calibration"))
    return _Speed(
        train=training / (TRAIN.passes * macs * trained),
        evaluate=evaluation / (macs * counted),
        cut=cutting / macs,
    )
