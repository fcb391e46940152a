"""What it is worth that weak devices take part, where they hold labels that nobody else has.

    python bench/weak.py --data DIR --out FILE [--seeds 0 1 2]

All of CIFAR-10 in 40 clients of three device classes, MobileNetV1 thinned alike, the networks of
the classes trained as one (`finalTraining.nested`). The class `watch` carries a third of the
multiply-accumulates of the start, and its 13 clients alone hold the rows of two labels; all other
rows are dealt to all clients (Dirichlet 0.5). Beside it are the same clients without the watches,
which is what a training of the larger networks comes to that asks only who can carry them. The
start weights know all labels, and so do the 5,000 validation rows, on which statistics are
recomputed; test accuracy is on all labels and on the two.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import quality

OWN = (8, 9)
CLASSES = (("hub", 13, 0.7), ("phone", 14, 0.5), ("watch", 13, 0.35))


def spec_of(data: str, seed: int, watches: bool, rounds: int) -> dict[str, Any]:
    taking_part = CLASSES if watches else CLASSES[:-1]
    return {
        "apiVersion": "fednas.dev/v1alpha1",
        "kind": "FederatedSearch",
        "metadata": {"name": "weak"},
        "spec": {
            "seed": seed,
            "model": {
                "name": "mobilenet_v1",
                "args": {"widthMultiplier": 0.25},
                "initial": {"weights": "examples/cifar10/start.safetensors"},
            },
            "data": {"source": data, "partition": {"dirichlet": {"alpha": 0.5}}},
            "strategy": {"uniform": {}},
            "target": {"macs": {"share": 0.35}},
            "baseline": "none",
            "finalTraining": {
                "rounds": rounds,
                "clientsPerRound": 16 if watches else 11,  # of 40 and 27: as much for each
                "batchSize": 32,
                "nested": True,
            },
            "deviceClasses": [
                {"name": name, "clients": clients, "budget": {"macs": {"share": budget}}}
                for name, clients, budget in taking_part
            ],
        },
    }


def dealt(ordinary: Any, clients: int) -> Any:
    """A partition whose last clients, of so many, have all rows of the two labels."""

    def partition(how: Any, labels: Any, asked: int, *, seed: int, values: Any = None) -> Any:
        watches = CLASSES[-1][1]
        own = np.isin(labels, OWN)
        shares = []
        for chosen, among in ((~own, clients), (own, watches)):
            rows = np.flatnonzero(chosen)
            parts = ordinary(how, labels[rows], among, seed=seed)
            shares.append([rows[part] for part in parts])
        everyone, theirs = shares
        for client, more in zip(range(clients - watches, clients), theirs, strict=True):
            everyone[client] = np.sort(np.concatenate([everyone[client], more]))
        return everyone[:asked]

    return partition


def main() -> None:
    import torch

    import fednas
    from fednas.data import _shards, encode_rows, load_dataset, open_rows

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a folder with train and test*.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _shards.partition = dealt(_shards.partition, sum(clients for _, clients, _ in CLASSES))
    found: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        for watches in (True, False):
            search = fednas.load_spec(spec_of(arguments.data, seed, watches, arguments.rounds))
            data = load_dataset(arguments.data, search.spec.data.columns)
            own = np.isin(data.test_labels, OWN)
            tests = {
                "all": open_rows(encode_rows(data.test_images, data.test_labels)),
                "own": open_rows(encode_rows(data.test_images[own], data.test_labels[own])),
                "others": open_rows(encode_rows(data.test_images[~own], data.test_labels[~own])),
            }
            with tempfile.TemporaryDirectory() as folder:
                result = fednas.run(search, dir=Path(folder) / "run", tracking=None)
                accuracy = {name: quality.in_use(result, rows) for name, rows in tests.items()}
                cost = result.ledger.final
            found.append(
                {"seed": seed, "watches": watches, "accuracy": accuracy}
                | {"gmacs": cost.macs / 1e9, "mb": (cost.bytes_down + cost.bytes_up) / 1e6}
            )
            print(json.dumps(found[-1]), flush=True)
            arguments.out.write_text(json.dumps({"own": OWN, "runs": found}, indent=1))


if __name__ == "__main__":
    main()
