"""How well a table of layers tells the latency of networks that were never measured.

    python bench/latency.py --out bench/results/latency.json

A table is measured, then random cuts of the network that the table has not seen, in turns; each cut
is what the median of 7 calls was in its quietest visit, on the thread's own clock, as the table's
layers are. The error is that of the whole network. In a
random cut every group of layers keeps between a quarter and all of its filters, in multiples of 4.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from fednas.models import build, start_architecture
from fednas.resources import LatencyTable
from fednas.space import Space, measure_latencies, trace
from fednas.space._measure import random_widths, visit

NETWORKS = (("mobilenet_v1", 32, 0.25), ("mobilenet_v1", 96, 0.5), ("cnn", 28, 1.0))
UNSEEN = 1000
"""Numbers of the cuts start here; the table's own constant is fitted to those from 0."""


def checked(space: Space, cuts: int, visits: int) -> dict[str, Any]:
    """Predicted and measured milliseconds of random cuts of a network."""
    begun = time.monotonic()
    rows = measure_latencies(space, device="bench")
    seconds = time.monotonic() - begun
    table = LatencyTable.of(rows, "bench")
    networks = [space.start.with_widths(random_widths(space, UNSEEN + i)) for i in range(cuts)]
    modules = [build(network) for network in networks]
    image = torch.zeros(1, *space.start.input_shape)
    times: list[list[float]] = [[] for _ in modules]
    for _ in range(visits):
        for module, found in zip(modules, times, strict=True):
            found.append(visit(module, image))
    predicted = [table.milliseconds(space.operations, network.widths) for network in networks]
    measured = [min(found) for found in times]
    errors = [p / m - 1 for p, m in zip(predicted, measured, strict=True)]
    noisy = [p / median(found) - 1 for p, found in zip(predicted, times, strict=True)]
    return {
        "rows": len(rows),
        "tableSeconds": round(seconds, 1),
        "constantMilliseconds": table.constant,
        "startMilliseconds": table.milliseconds(space.operations, space.start.widths),
        "predicted": [round(p, 4) for p in predicted],
        "measured": [round(m, 4) for m in measured],
        "medianAbsoluteError": median(map(abs, errors)),
        "largestAbsoluteError": max(map(abs, errors)),
        "medianError": median(errors),
        "medianAbsoluteErrorAgainstMedianVisits": median(map(abs, noisy)),
        **baselines(predicted, measured, table.milliseconds(space.operations, space.start.widths)),
    }


def baselines(predicted: list[float], measured: list[float], start: float) -> dict[str, float]:
    """What the error is to be held against: guesses that know nothing of a cut; and the order.

    The start's time for every cut; the cuts' own median for every cut, which nobody knows before.
    The rank correlation (Spearman) says how well the table orders cuts, constant or not.
    """
    middle = median(measured)
    ranks = [np.argsort(np.argsort(values)) for values in (predicted, measured)]
    return {
        "errorOfStartsTime": median(abs(start / m - 1) for m in measured),
        "errorOfCutsMedian": median(abs(middle / m - 1) for m in measured),
        "rankCorrelation": round(float(np.corrcoef(*ranks)[0, 1]), 3),
    }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--visits", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"torch": torch.__version__, "threads": 1, "networks": []}
    for name, size, multiplier in NETWORKS:
        start = start_architecture(
            name, channels=3, size=size, classes=10, width_multiplier=multiplier
        )
        space = trace(start)
        runs = [checked(space, options.cuts, options.visits) for _ in range(options.repeats)]
        found["networks"].append(
            {
                "network": f"{name} {multiplier:g}, {size} px",
                "medianAbsoluteErrors": [round(run["medianAbsoluteError"], 4) for run in runs],
                "runs": runs,
            }
        )
        one = found["networks"][-1]
        print(one["network"], one["medianAbsoluteErrors"], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
