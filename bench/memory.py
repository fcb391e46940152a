"""The estimate of training memory against what torch allocates, and what the process grows by.

    python bench/memory.py --out bench/results/memory.json

*Allocated* is the peak of torch's own allocations from before the network is built, as its profiler
tells them. *Grown* is by how much the resident set of a process peaks above what it was once torch
had trained a network of two filters: with the kernels' scratch memory, which torch does not count,
and with what the allocator keeps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from fednas.data import encode_rows, open_rows
from fednas.models import Architecture, build, start_architecture
from fednas.space import trace
from fednas.spec import Sgd
from fednas.training import train

CASES = (
    ("mobilenet_v1", 32, 0.25, 64),
    ("mobilenet_v1", 32, 1.0, 64),
    ("mobilenet_v1", 96, 0.25, 16),
    ("cnn", 28, 1.0, 64),
    ("cnn", 8, 1.0, 32),
)


def steps(network: Architecture, batch: int) -> None:
    """Build a network and train it for three steps."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(batch, *network.input_shape), dtype=np.uint8)
    rows = open_rows(encode_rows(images, rng.integers(network.classes, size=batch)))
    shape = network.input_shape
    train(build(network), rows, shape, epochs=3, batch_size=batch, optimizer=Sgd(), seed=0)


def allocated(network: Architecture, batch: int) -> int:
    """Bytes, at their peak."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        steps(network, batch)
    results = profiler.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    held = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(held.max())


def resident(field: str) -> int:
    """Bytes of this process's resident set: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def grown(name: str, size: int, multiplier: float, batch: int) -> None:
    """Print by how much the process's peak exceeds what it took before."""
    torch.set_num_threads(1)
    network = start_architecture(
        name, channels=3, size=size, classes=10, width_multiplier=multiplier
    )
    steps(network.with_widths([2] * len(network.widths)), 2)
    before = resident("VmRSS")
    steps(network, batch)
    print(resident("VmHWM") - before)


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--grown", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grown:
        name, size, multiplier, batch = options.grown
        grown(name, int(size), float(multiplier), int(batch))
        return
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for name, size, multiplier, batch in CASES:
        network = start_architecture(
            name, channels=3, size=size, classes=10, width_multiplier=multiplier
        )
        estimate = trace(network).priced(batch, {}).memory(network.widths)
        steps(network, batch)
        peak = allocated(network, batch)
        command = [sys.executable, __file__, "--grown", *map(str, (name, size, multiplier, batch))]
        growth = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        found.append(
            {
                "network": f"{name} {multiplier:g}, {size} px, batch {batch}",
                "estimateBytes": estimate,
                "allocatedBytes": peak,
                "grownBytes": growth,
                "errorOfAllocated": round(estimate / peak - 1, 4),
                "errorOfGrown": round(estimate / growth - 1, 4),
            }
        )
        print(found[-1])
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
