"""What privacy costs, and what it hides: accuracy against epsilon, and a membership test.

    python bench/privacy.py --out bench/results/privacy.json

Every row is a whole search on the digits: the start is trained from random weights by all clients
in every round, candidates are ranked in the cloud, and all clients train the rung in use on.
So every client is in every release, and the noise is chosen to spend just the epsilon of the row.
The delta is a fifth of one over the number of clients. All tasks run in this process, one after the
other: of a few rows each they are shorter than their way to another.

The membership test is a threshold on the loss (Yeom et al., arXiv 1709.01604): of the network in
use, on the clients' rows and on validation rows, which nobody trained on, though the network was
chosen and its statistics recomputed on them; the test rows are of other writers. It is told by row,
and by the mean of as many rows as a client has, where they make ten such clients. 0.5 is chance.
What it finds is a lower bound of what others may find.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fednas.data import open_rows
from fednas.errors import FednasError, SearchFailed
from fednas.local import local_shards
from fednas.result import Result
from fednas.search import Inputs, run_search
from fednas.spec import load_spec
from fednas.store import Blobs, FolderStore, Layout, Store
from fednas.training import judge
from fednas.work import Pending, Task, TaskResult, execute

EPSILONS = (0.1, 0.5, 2.0, 8.0, 32.0, None)
CROWDS = (10, 40, 160)


def spec_of(
    clients: int, epsilon: float | None, seed: int, rounds: int, clip_norm: float
) -> dict[str, Any]:
    """A search over so many clients; None promises nothing."""
    from dp_accounting import get_sigma_gaussian

    first, last = rounds, max(1, rounds // 4)
    how = {
        "clientsPerRound": clients,
        "epochs": 4.0,
        "batchSize": 32,
        "optimizer": {"sgd": {"learningRate": 0.1}},
    }
    private: dict[str, Any] = {"none": {}}
    if epsilon is not None:
        delta = 0.2 / clients
        private = {
            "clientLevel": {
                "clipNorm": clip_norm,
                "noiseMultiplier": get_sigma_gaussian(epsilon, delta) * (first + last) ** 0.5,
                "delta": delta,
                "epsilon": epsilon * 1.001,
            }
        }
    return {
        "apiVersion": "fednas.dev/v1alpha1",
        "kind": "FederatedSearch",
        "metadata": {"name": "privacy"},
        "spec": {
            "seed": seed,
            "model": {
                "name": "cnn",
                "args": {"widthMultiplier": 0.25},
                "initial": {"training": {"rounds": first, **how}},
            },
            "data": {"source": "digits", "partition": {"iid": {}}},
            "target": {"macs": {"share": 0.6}},
            "baseline": "none",
            "finalTraining": {"rounds": last, **how},
            "deviceClasses": [{"name": "phone", "clients": clients}],
            "privacy": private,
        },
    }


class Here:
    """Does every task in this process when it is submitted."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._blobs, self._data = Blobs(store, layout.blobs), Blobs(store, layout.data)
        self.blob = self._blobs.get

    def submit(self, task: Task) -> Pending:
        pending = Pending(task)
        pending.started.set_result(0.0)
        try:
            work = execute(task, self)
        except FednasError as error:
            pending.future.set_exception(error)
            return pending
        done = TaskResult(
            outputs={name: self._blobs.put(blob) for name, blob in work.outputs.items()},
            sizes={name: len(blob) for name, blob in work.outputs.items()},
            sums=work.sums,
            weight=work.weight,
        )
        pending.future.set_result(done)
        return pending

    def rows(self, digest: str) -> Any:
        return open_rows(self._data.get(digest))

    def upload(self, key: str) -> bytes:
        raise AssertionError(key)

    def cancel(self, pending: Pending) -> None:
        pending.future.cancel()

    def close(self) -> None:
        pass


def area(members: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    """That a member has the lesser loss: area under the curve of all thresholds."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(others, members).statistic / (len(members) * len(others)))


def nothing(*_: str) -> Any:
    """No file is named."""
    raise AssertionError


def measure(
    clients: int, epsilon: float | None, seed: int, rounds: int, clip_norm: float
) -> dict[str, Any]:
    """One search, and what its networks tell."""
    search = load_spec(spec_of(clients, epsilon, seed, rounds, clip_norm))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store, layout = FolderStore(Path(folder)), Layout()
        shards, fleet = local_shards(search, store, layout, None), Here(store, layout)
        inputs = Inputs(lambda: shards, weights=nothing, table=nothing)
        row: dict[str, Any] = {"clients": clients, "epsilon": epsilon, "seed": seed}
        try:
            run_search(search, store=store, layout=layout, fleet=fleet, inputs=inputs, timeout=None)
        except SearchFailed as failure:
            return row | {"failed": failure.reason, "seconds": time.monotonic() - began}
        result = Result(store, layout)
        rung = result.selected["phone"]
        start = result.ladder[0]
        assert rung is not None
        module, network = rung.load(), rung.architecture

        def losses(shard: str) -> npt.NDArray[np.float64]:
            rows = fleet.rows(shard)
            return judge(module, rows, network.input_shape, normalize=network.normalize)[0]

        others = losses(shards.validation.shard)
        each = [losses(shard.shard) for shard in shards.clients.values()]
        members = np.concatenate(each)
        size = min(len(one) for one in each)
        crowd = others[: len(others) // size * size].reshape(-1, size).mean(1)
        return row | {
            "spent": result.view.epsilon,
            "start": start.accuracy,
            "accuracy": rung.accuracy,
            "members": area(members, others),
            "membersByClient": area(np.array([one[:size].mean() for one in each]), crowd)
            if len(crowd) >= 10
            else None,
            "rows": len(members) / clients,
            "seconds": time.monotonic() - began,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--clip-norm", type=float, default=1.0)
    parser.add_argument("--clients", type=int, nargs="*", default=CROWDS)
    parser.add_argument("--epsilons", type=float, nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for clients in sorted(arguments.clients, reverse=True):
        wanted = arguments.epsilons or (
            EPSILONS if clients == max(arguments.clients) else (8.0, None)
        )
        for epsilon in wanted:
            found = [
                measure(clients, epsilon, seed, arguments.rounds, arguments.clip_norm)
                for seed in range(arguments.seeds)
            ]
            rows += found
            told = [one["accuracy"] for one in found if "accuracy" in one]
            mean = f"{fmean(told):.3f}" if told else found[0]["failed"]
            print(clients, epsilon, mean, json.dumps(found[0]), flush=True)
            if arguments.out:
                settings = {
                    "rounds": arguments.rounds,
                    "clipNorm": arguments.clip_norm,
                    "delta": "0.2 / clients",
                }
                text = json.dumps({"settings": settings, "rows": rows}, indent=1)
                arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
