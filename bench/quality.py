"""What searches find, against what costs nothing, on the same data, in one table.

    python bench/quality.py examples/cifar10.yaml --test DIR --out bench/results/quality.json
    python bench/quality.py bench/three-classes.yaml --set data.source=DIR --test DIR --train 10
        --rows netAdapt "thinned alike" --out bench/results/three-classes.json

Every row is a spec that differs from the file's in a few fields, run for each seed down to the
smallest share. The rungs on either side of each share are evaluated on the test split of the data
set in ``--test`` (``test*.parquet``), which may be larger than the file's own, and the accuracy at
the share itself is read off the line between them. The cost is that of all clients together, for
the search. Seeds change the validation rows, the partition and every draw, not the start weights.
With ``--train ROUNDS`` every row ends with the file's final training for so many rounds of the rung
that each device class gets, and that rung is evaluated before and after it. The taught rows
have a class for each share, whose network learns the answers of the start in the cloud.

Two rows are no searches of ours: Torch-Pruning's global pruning of the same start, by magnitude
(L2) and by Taylor expansion over the validation rows with their labels, in 400 steps; its
batch-norm statistics are recomputed on the same calibration rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

SHARES = (0.75, 0.5, 0.35)
SCREENED = {"screening": {"topK": {"keep": 3}}, "rounds": {"constant": {"pre": 1, "post": 0}}}
ROUNDS = {"rounds": {"constant": {"pre": 2, "post": 10}}, "screening": {"none": {}}}
AUTHORS = {"firstStep": 0.05, "stepDecay": 0.98, "filterStep": 8, "order": "accuracyPerResource"}
NAIVE = {"firstStep": 0.05, "clientGroups": 1, "earlyDrop": {"none": {}}}
CENTRAL = {"firstStep": 0.05, "screening": {"none": {}}, "rounds": {"constant": {"pre": 1}}}
TAUGHT = {
    "distillation": {},
    "deviceClasses": [
        {
            "name": f"class-{share}".replace(".", "-"),
            "clients": 5,
            "budget": {"macs": {"share": share}},
        }
        for share in SHARES
    ],
}
PRUNED = {"Torch-Pruning, global magnitude": "magnitude", "Torch-Pruning, global Taylor": "taylor"}
ROWS: dict[str, dict[str, Any]] = {
    "thinned alike, not refitted": {"strategy": {"uniform": {}}, "refit": False},
    "thinned alike": {"strategy": {"uniform": {}}},
    "random, 8 candidates": {"strategy": {"random": {}}},
    "evolution": {"strategy": {"module": {"path": "evolution:Evolution"}}},
    "netAdapt, not refitted": {"strategy": {"netAdapt": {}}, "refit": False},
    "netAdapt": {"strategy": {"netAdapt": {}}},
    "thinned alike, taught": {"strategy": {"uniform": {}}, **TAUGHT},
    "netAdapt, taught": {"strategy": {"netAdapt": {}}, **TAUGHT},
    "netAdapt, by loss": {"strategy": {"netAdapt": {"order": "loss"}}},
    "netAdapt, steps of 0.05": {"strategy": {"netAdapt": {"firstStep": 0.05}}},
    "netAdapt, best 3 trained": {"strategy": {"netAdapt": SCREENED}},
    "authors' settings": {"strategy": {"netAdapt": {**AUTHORS, **ROUNDS}}, "refit": False},
    "centralised, down to 0.5": {
        "strategy": {"netAdapt": CENTRAL},
        "deviceClasses": [{"name": "centre", "clients": 1}],
        "data": {"partition": {"iid": {}}},
        "target": {"macs": {"share": 0.5}},
    },
    "naive, down to 0.5": {
        "strategy": {"netAdapt": {**NAIVE, **ROUNDS}},
        "target": {"macs": {"share": 0.5}},
    },
}


def spec_of(search: Any, row: dict[str, Any], seed: int, train: int = 0) -> dict[str, Any]:
    """The file's spec with a row's fields, without what is only shown."""
    found = search.to_dict()
    spec = {k: v for k, v in found["spec"].items() if k not in ("strategy", "finalTraining")}
    spec |= {"target": {"macs": {"share": min(SHARES)}}, "baseline": "none", "seed": seed, **row}
    spec["data"] = found["spec"]["data"] | row.get("data", {})
    if train:
        spec["finalTraining"] = found["spec"]["finalTraining"] | {"rounds": train}
    return {**found, "spec": spec}


def at_shares(points: list[tuple[float, float]]) -> dict[str, float]:
    """Accuracy at each share, on the line between the (share, accuracy) on either side of it."""
    accuracy = {}
    for (above, before), (below, after) in pairwise(points):
        for share in SHARES:
            if below <= share < above:
                way = (above - share) / (above - below)
                accuracy[f"{share}"] = (1 - way) * before + way * after
    return accuracy


def tested(network: Any, architecture: Any, rows: Any) -> float:
    """Accuracy in per cent."""
    from fednas.training import evaluate

    counted = evaluate(network, rows, architecture.input_shape, normalize=architecture.normalize)
    return 100 * counted.correct / counted.total


def searched(rung: Any, folder: Path, rows: Any) -> float:
    """Accuracy in per cent, before any final training."""
    from fednas.models import build, decode
    from fednas.search import rung_file

    weights = decode((folder / "ladder" / rung_file(rung.rung)).read_bytes())
    return tested(build(rung.architecture, weights).eval(), rung.architecture, rows)


def in_use(result: Any, rows: Any) -> dict[str, dict[str, float]]:
    """Of each device class's rung, as it is deployed: its share, and its accuracy."""
    return {
        name: {"share": rung.share, "accuracy": tested(rung.load(), rung.architecture, rows)}
        for name, rung in result.selected.items()
    }


def pruned(search: Any, name: str, seed: int, rows: Any) -> dict[str, Any]:
    """The start pruned by Torch-Pruning until it is below the smallest share."""
    import torch
    import torch_pruning as tp
    from safetensors.numpy import load_file
    from torch.nn import functional

    import fednas
    from fednas.data import load_dataset, make_shards, open_rows, split_rows
    from fednas.models import build, start_architecture
    from fednas.resources import count_macs
    from fednas.training import evaluate, normalise, recalibrate

    spec = fednas.load_spec(spec_of(search, {}, seed)).spec
    blobs: dict[str, Any] = {}

    def put(blob: bytes) -> str:
        digest = hashlib.sha256(blob).hexdigest()
        blobs[digest] = open_rows(blob)
        return digest

    data = load_dataset(spec.data.source, spec.data.columns)
    shards = make_shards(fednas.load_spec(spec_of(search, {}, seed)), data, put)
    channels, size, _ = data.shape
    network = start_architecture(
        spec.model.family,
        channels=channels,
        size=size,
        classes=data.classes,
        width_multiplier=spec.model.args.width_multiplier,
    )
    (vector,) = load_file(spec.model.initial.weights).values()
    module = build(network, vector).eval()
    calibration = blobs[shards.calibration.shard]
    images, labels = split_rows(blobs[shards.validation.shard].copy(), data.shape)
    example = torch.zeros(1, *data.shape)
    full = count_macs(module, example)
    taylor = PRUNED[name] == "taylor"
    pruner = tp.pruner.BasePruner(
        module,
        example,
        importance=tp.importance.TaylorImportance()
        if taylor
        else tp.importance.MagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=0.9,
        iterative_steps=400,
        ignored_layers=[m for m in module.modules() if isinstance(m, torch.nn.Linear)],
    )

    def point() -> tuple[float, float]:
        recalibrate(module, calibration, data.shape)
        counted = evaluate(module, rows, data.shape)
        return count_macs(module, example) / full, 100 * counted.correct / counted.total

    points = [point()]
    wanted = sorted(SHARES, reverse=True)
    while wanted:
        if taylor:
            module.eval().zero_grad()
            for part in range(0, len(images), 200):
                logits = module(normalise(images[part : part + 200]))
                target = torch.from_numpy(labels[part : part + 200])
                functional.cross_entropy(logits, target).backward()
        before = points[-1][0]
        pruner.step()
        share = count_macs(module, example) / full
        if share < before - 0.02 or share <= wanted[0]:
            points.append(point())
            wanted = [one for one in wanted if one < share]
    return {
        "row": name,
        "seed": seed,
        "accuracy": at_shares(points),
        "start": points[0][1],
        "clientGmacs": 0.0,
        "clientMb": 0.0,
    }


def measure(
    search: Any, name: str, seed: int, rows: Any, folder: Path, train: int
) -> dict[str, Any]:
    """One search: accuracy by share, and what the clients paid."""
    if name in PRUNED:
        return pruned(search, name, seed, rows)
    import fednas

    result = fednas.run(
        fednas.load_spec(spec_of(search, ROWS[name], seed, train)), dir=folder, tracking=None
    )
    ladder = result.ladder
    beside = {
        index
        for index, (above, below) in enumerate(pairwise(ladder))
        if any(below.share <= share < above.share for share in SHARES)
    }
    points = {
        i: searched(ladder[i], folder, rows) for i in sorted(beside | {i + 1 for i in beside} | {0})
    }
    cost = result.ledger.search
    found = {
        "row": name,
        "seed": seed,
        "accuracy": at_shares([(ladder[i].share, points[i]) for i in points]),
        "start": points[0],
        "clientGmacs": cost.macs / 1e9,
        "clientMb": (cost.bytes_down + cost.bytes_up) / 1e6,
        "seconds": result.view.latest - result.view.began,
    }
    if result.search.spec.goes_on:
        paid = result.ledger.final
        found |= {
            "trained": in_use(result, rows),
            "finalGmacs": paid.macs / 1e9,
            "finalMb": (paid.bytes_down + paid.bytes_up) / 1e6,
        }
    return found


def main() -> None:
    import torch

    import fednas
    from fednas.data import encode_rows, load_dataset, open_rows

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--test", required=True, help="a folder with test*.parquet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=[*ROWS, *PRUNED], choices=[*ROWS, *PRUNED])
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--train", type=int, default=0, help="rounds of final training")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    search = fednas.load_spec(arguments.file, arguments.sets)
    data = load_dataset(arguments.test, search.spec.data.columns)
    rows = open_rows(encode_rows(data.test_images, data.test_labels))
    found: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        for name in arguments.rows:
            with tempfile.TemporaryDirectory() as folder:
                found.append(
                    measure(search, name, seed, rows, Path(folder) / "run", arguments.train)
                )
            print(json.dumps(found[-1]), flush=True)
            arguments.out.write_text(json.dumps({"tests": len(rows), "runs": found}, indent=1))
    for name in arguments.rows:
        mine = [run for run in found if run["row"] == name]
        met = [[run["accuracy"].get(f"{s}") for run in mine] for s in SHARES]
        means = [f"{fmean(one):5.1f}" if None not in one else "    -" for one in met]
        print(f"{name:32}", "  ".join(means))


if __name__ == "__main__":
    main()
