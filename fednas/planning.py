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
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fednas.data import Rows, Shards, open_rows
from fednas.fleet import available_cpus
from fednas.local import local_shards, local_table, start_network
from fednas.models import Architecture
from fednas.search import Expense, Forecast, forecast
from fednas.space import Space, trace
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Blobs, FolderStore, Layout, digest_of
from fednas.work import (
    DERIVE,
    DISTIL,
    EVALUATE,
    INITIALISE,
    TRAIN,
    Derive,
    Distil,
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
        speed = _probe(search, space, shards, foreseen, Blobs(store, layout.data), clock)
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
    """Seconds a multiply-accumulate: of training, evaluation, cutting and distillation."""

    train: float
    evaluate: float
    cut: float
    teach: float

    def seconds(self, foreseen: Forecast, expense: Expense, workers: int) -> float:
        """Of so many threads; a network is taught by one, and the next stage waits for it."""
        trained = expense.search.macs + foreseen.initial.macs + foreseen.final.macs
        spread = trained * self.train + expense.evaluated * self.evaluate + foreseen.cut * self.cut
        stages = [[lesson.macs for lesson in stage] for stage in foreseen.lessons if stage]
        taught = sum(max(sum(macs) / workers, *macs) for macs in stages)
        return spread / workers + taught * self.teach


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
    foreseen: Forecast,
    blobs: Blobs,
    clock: Callable[[], float],
) -> _Speed:
    """Time the tasks of a search themselves, on a few rows of its data, by one thread.

    What is cut, evaluated and taught are networks in the middle of the forecast: the more is cut,
    the more layers are refitted, and narrow ones take longer for a multiply-accumulate.
    """
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

    def fresh(network: Architecture) -> str:
        """Random weights of it."""
        task = INITIALISE.task("probe", Initialise(architecture=network))
        return held.keep(INITIALISE.execute(task, held).outputs["weights"])

    cut = held.keep(space.to_json())
    params = Train.by(spec.training, spec.data, network).model_copy(update={"epochs": 1.0})
    parent, child = _middle_cut(network, foreseen)

    def timed(
        kind: Kind[Any], params: Params, inputs: dict[str, str], data: dict[str, str]
    ) -> float:
        task = kind.task("probe", params, inputs=inputs, data=data)
        kind.execute(task, held)  # the first takes longer
        times = []
        for _ in range(3):
            began = clock()
            kind.execute(task, held)
            times.append(clock() - began)
        return median(times)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training = timed(TRAIN, params, {"weights": fresh(network)}, {"shard": "train"})
        evaluation = timed(
            EVALUATE,
            Evaluate(architecture=child),
            {"weights": fresh(child)},
            {"shard": "validation", "calibration": "calibration"},
        )
        cutting = timed(
            DERIVE,
            Derive(parent=parent, child=child),
            {"weights": fresh(parent), "space": cut},
            {"calibration": "calibration"} if spec.refit else {},
        )
        lessons = [lesson for stage in foreseen.lessons for lesson in stage]
        teaching = 0.0
        if lessons:
            lesson = lessons[len(lessons) // 2]
            assert spec.distillation is not None
            how = Distil.by(spec.distillation, lesson.pupil, lesson.teacher)
            steps = min(_BATCHES, how.steps)
            teaching = timed(
                DISTIL,
                how.model_copy(update={"steps": steps}),
                {"weights": fresh(lesson.pupil), "teacher": fresh(lesson.teacher)},
                {"shard": "validation"},
            ) / (lesson.macs * steps / how.steps)
    finally:
        torch.set_num_threads(threads)
    macs, smaller = space.macs(network.widths), space.macs(child.widths)
    trained = TRAIN.samples(params, len(held.rows("train")))
    counted = len(held.rows("validation")) + len(held.rows("calibration"))
    return _Speed(
        train=training / (TRAIN.passes * macs * trained),
        evaluate=evaluation / (smaller * counted),
        cut=cutting / smaller,
        teach=teaching,
    )


def _middle_cut(start: Architecture, foreseen: Forecast) -> tuple[Architecture, Architecture]:
    """From which network to which a candidate in the middle of a search is cut."""
    if not foreseen.iterations:
        return start, start
    half = len(foreseen.iterations) // 2
    middle = foreseen.iterations[half]
    trained = half and any(middle.planned.values())  # else all are cut from the start
    parent = foreseen.iterations[half - 1].network if trained else start
    return parent, middle.candidates[len(middle.candidates) // 2].architecture
