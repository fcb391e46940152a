"""What searches find, against what costs nothing, on the same data, in one table.

    python bench/quality.py examples/cifar10.yaml --test DIR --out bench/results/quality.json

Every row is a spec that differs from the file's in a few fields, run for each seed down to the
smallest share. The rungs on either side of each share are evaluated on the test split of the data
set in ``--test`` (``test*.parquet``), which may be larger than the file's own, and the accuracy at
the share itself is read off the line between them. The cost is that of all clients together, for
the search. Seeds change the validation rows, the partition and every draw, not the start weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

SHARES = (0.75, 0.5, 0.35)
SCREENED = {"screening": {"topK": {"keep": 3}}, "rounds": {"constant": {"pre": 1, "post": 0}}}
ROWS: dict[str, dict[str, Any]] = {
    "thinned alike, not refitted": {"strategy": {"uniform": {}}, "refit": False},
    "thinned alike": {"strategy": {"uniform": {}}},
    "random, 8 candidates": {"strategy": {"random": {}}},
    "netAdapt, not refitted": {"strategy": {"netAdapt": {}}, "refit": False},
    "netAdapt": {"strategy": {"netAdapt": {}}},
    "netAdapt, steps of 0.05": {"strategy": {"netAdapt": {"firstStep": 0.05}}},
    "netAdapt, best 3 trained": {"strategy": {"netAdapt": SCREENED}},
}


def spec_of(search: Any, row: dict[str, Any], seed: int) -> dict[str, Any]:
    """The file's spec with a row's fields, without what is only shown."""
    found = search.to_dict()
    spec = {k: v for k, v in found["spec"].items() if k not in ("strategy", "finalTraining")}
    target = {"macs": {"share": min(SHARES)}}
    return {**found, "spec": {**spec, "target": target, "baseline": "none", "seed": seed, **row}}


def tested(rung: Any, rows: Any) -> float:
    """Accuracy in per cent."""
    from fednas.training import evaluate

    counted = evaluate(
        rung.load(), rows, rung.architecture.input_shape, normalize=rung.architecture.normalize
    )
    return 100 * counted.correct / counted.total


def measure(search: Any, name: str, seed: int, rows: Any, folder: Path) -> dict[str, Any]:
    """One search: accuracy by share, and what the clients paid."""
    import fednas

    result = fednas.run(
        fednas.load_spec(spec_of(search, ROWS[name], seed)), dir=folder, tracking=None
    )
    accuracy = {}
    for share in SHARES:
        after = next(rung.rung for rung in result.ladder if rung.share <= share)
        above, below = result.ladder[after - 1], result.ladder[after]
        way = (above.share - share) / (above.share - below.share)
        accuracy[f"{share}"] = (1 - way) * tested(above, rows) + way * tested(below, rows)
    cost = result.ledger.search
    return {
        "row": name,
        "seed": seed,
        "accuracy": accuracy,
        "start": tested(result.ladder[0], rows),
        "clientGmacs": cost.macs / 1e9,
        "clientMb": (cost.bytes_down + cost.bytes_up) / 1e6,
        "seconds": result.view.latest - result.view.began,
    }


def main() -> None:
    import torch

    import fednas
    from fednas.data import encode_rows, load_dataset, open_rows

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--test", required=True, help="a folder with test*.parquet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    search = fednas.load_spec(arguments.file)
    data = load_dataset(arguments.test, search.spec.data.columns)
    rows = open_rows(encode_rows(data.test_images, data.test_labels))
    found: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        for name in arguments.rows:
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(search, name, seed, rows, Path(folder) / "run"))
            print(json.dumps(found[-1]), flush=True)
            arguments.out.write_text(json.dumps({"tests": len(rows), "runs": found}, indent=1))
    for name in arguments.rows:
        mine = [run for run in found if run["row"] == name]
        means = [fmean(run["accuracy"][f"{s}"] for run in mine) for s in SHARES]
        print(f"{name:30}", "  ".join(f"{mean:5.1f}" for mean in means))


if __name__ == "__main__":
    main()
