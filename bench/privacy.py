"""What privacy costs, and what it hides: accuracy against epsilon, and a membership test.

    python bench/privacy.py --seeds 3 --out bench/results/privacy.json
    python bench/privacy.py --sample --seeds 3 --rounds 8 --out bench/results/privacy-sample.json

Every row is a whole search on the digits: the start is trained from random weights by all clients
in every round, candidates are ranked in the cloud, and all clients train the rung in use on.
So every client is in every release, and the noise is chosen to spend just the epsilon of the row.
The delta is a fifth of one over the number of clients. All tasks run in this process, one after the
other: of a few rows each they are shorter than their way to another.

With ``--sample`` it is the demo's start and its 16 clients' images, thinned alike to half the MACs
and trained on by all of them.

The membership test is a threshold on the loss (Yeom et al., arXiv 1709.01604): of the network in
use, on the clients' rows and on others that nobody trained on. For the digits these are validation
rows, though the network was chosen and its statistics recomputed on them, for the test rows are of
other writers; for the sample they are the test rows. It is told by row, and by the mean of as many
rows as a client has, where they make ten such clients. 0.5 is chance. What it finds is a lower
bound of what others may find.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fednas.data import open_rows
from fednas.errors import FednasError, SearchFailed
from fednas.local import local_shards
from fednas.result import Result
from fednas.search import Inputs, read_start, run_search
from fednas.spec import load_spec
from fednas.store import Blobs, FolderStore, Layout, Store
from fednas.training import judge
from fednas.work import Pending, Task, TaskResult, execute

EPSILONS = (0.5, 2.0, 4.0, 8.0, 16.0, 32.0, None)
CROWDS = (10, 40, 160)
SAMPLE = 16


def promise_of(
    clients: int, epsilon: float | None, releases: int, clip_norm: float
) -> dict[str, Any]:
    """What spends this epsilon in so many releases; None promises nothing."""
    from dp_accounting import get_sigma_gaussian

    if epsilon is None:
        return {"none": {}}
    delta = 0.2 / clients
    return {
        "clientLevel": {
            "clipNorm": clip_norm,
            "noiseMultiplier": get_sigma_gaussian(epsilon, delta) * releases**0.5,
            "delta": delta,
            "epsilon": epsilon * 1.001,
        }
    }


def sample_of(epsilon: float | None, seed: int, rounds: int, clip_norm: float) -> dict[str, Any]:
    """The demo's data and start."""
    found: dict[str, Any] = load_spec("examples/cifar10.yaml").to_dict()
    spec = {name: found["spec"][name] for name in ("model", "data")} | {
        "seed": seed,
        "target": {"macs": {"share": 0.5}},
        "strategy": {"uniform": {}},
        "baseline": "none",
        "finalTraining": {
            "rounds": rounds,
            "clientsPerRound": SAMPLE,
            "epochs": 4.0,
            "batchSize": 32,
        },
        "deviceClasses": [{"name": "phone", "clients": SAMPLE}],
        "privacy": promise_of(SAMPLE, epsilon, rounds, clip_norm),
    }
    return found | {"spec": spec}


def spec_of(
    clients: int, epsilon: float | None, seed: int, rounds: int, clip_norm: float
) -> dict[str, Any]:
    """A search over so many clients."""
    first, last = rounds, max(1, rounds // 4)
    how = {
        "clientsPerRound": clients,
        "epochs": 4.0,
        "batchSize": 32,
        "optimizer": {"sgd": {"learningRate": 0.1}},
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
            "privacy": promise_of(clients, epsilon, first + last, clip_norm),
        },
    }


class Here:
    """Does every task in this process when it is submitted, one after the other."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._alone = Lock()  # tasks share their networks
        self._blobs, self._data = Blobs(store, layout.blobs), Blobs(store, layout.data)
        self.blob = self._blobs.get

    def submit(self, task: Task) -> Pending:
        pending = Pending(task)
        pending.started.set_result(0.0)
        try:
            with self._alone:
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


def measure(document: dict[str, Any], row: dict[str, Any], *, tested: bool) -> dict[str, Any]:
    """One search, and what its networks tell; the others are test rows, or validation rows."""
    search = load_spec(document)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store, layout = FolderStore(Path(folder)), Layout()
        shards, fleet = local_shards(search, store, layout, None), Here(store, layout)
        start_file = search.spec.model.initial.weights or ""
        inputs = Inputs(
            lambda: shards,
            weights=lambda: read_start(start_file, Path(start_file).read_bytes(), nothing),
            table=nothing,
        )
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

        assert shards.test is not None
        others = losses((shards.test if tested else shards.validation).shard)
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
            "rows": len(members) / len(each),
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
    parser.add_argument("--sample", action="store_true", help="the demo's images")
    how = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for clients in [SAMPLE] if how.sample else sorted(how.clients, reverse=True):
        every = EPSILONS if clients == max(how.clients) and not how.sample else (8.0, None)
        for epsilon in how.epsilons or every:
            found = []
            for seed in range(how.seeds):
                settings = (epsilon, seed, how.rounds, how.clip_norm)
                document = sample_of(*settings) if how.sample else spec_of(clients, *settings)
                row = {"clients": clients, "epsilon": epsilon, "seed": seed}
                found.append(measure(document, row, tested=how.sample))
            rows += found
            told = [one["accuracy"] for one in found if "accuracy" in one]
            mean = f"{fmean(told):.3f}" if told else found[0]["failed"]
            print(clients, epsilon, mean, json.dumps(found[0]), flush=True)
            if how.out:
                kept = {"rounds": how.rounds, "clipNorm": how.clip_norm, "delta": "0.2 / clients"}
                text = json.dumps({"settings": kept, "rows": rows}, indent=1)
                how.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
