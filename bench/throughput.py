"""Steady training throughput and memory of a search, against a plain loop, in one run.

    python bench/throughput.py examples/cifar10.yaml --out bench/results/throughput.json \\
        --set strategy.netAdapt.rounds.constant.pre=2
    python bench/throughput.py bench/three-classes.yaml --seconds 90 \\
        --set strategy.netAdapt.rounds.constant.pre=2 --set data.source=DIR \\
        --out bench/results/throughput-all.json

The plain loop is what one would write by hand: one process, one torch thread, the same network at
full width, the same images, batch size and optimizer, no federation. It runs before and after the
search, and the mean of both counts, since machines drift. The search is stopped after ``seconds``
of steady work. Its samples are those of client training, over the time in which any client trained;
its evaluations are counted apart. A cut network costs less than the whole one, so samples are
weighted by their MACs: one *full sample* is a forward and backward pass of the starting network.
But it does not take less time in proportion, in any loop: so the plain loop trains some of the
search's own networks, too, and ``ratioSameNetworks`` is how much longer it would take for the same
samples of them.
Memory is the sum of proportional set sizes (PSS) of the process tree, sampled every 0.2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


SAMPLES = 1024
"""That the plain loop trains at a time, from one look at the clock to the next."""

NETWORKS = 4
"""Of the search, that the plain loop trains."""


def plain_loop(file: str, seconds: float, changes: list[str], widths: list[list[int]]) -> None:
    """Train each of these networks, or the starting one, for a while; print samples per second."""
    import torch

    from fednas.data import encode_rows, load_dataset, open_rows
    from fednas.models import build, starting_network
    from fednas.spec import load_spec
    from fednas.training import train

    torch.set_num_threads(1)
    search = load_spec(file, changes)
    data = load_dataset(search.spec.data.source, search.spec.data.columns)
    rows = open_rows(encode_rows(data.images, data.labels))
    start = starting_network(search.spec, data.shape, data.classes)
    sgd, batch = search.spec.training.optimizer.sgd, search.spec.training.batch_size
    share = SAMPLES / len(rows)

    found = []
    for each in widths or [start.widths]:
        network = build(start.with_widths(tuple(each)))

        def some(seed: int, network: nn.Module = network) -> int:
            return train(
                network, rows, data.shape, epochs=share, batch_size=batch, optimizer=sgd, seed=seed
            ).samples

        some(0)
        begun, samples, number = time.monotonic(), 0, 1
        while time.monotonic() - begun < seconds:
            samples += some(number)
            number += 1
        found.append(samples / (time.monotonic() - begun))
    print(json.dumps({"samplesPerSecond": found}))


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in tree(int(child)))]


def pss(pid: int) -> int:
    """Proportional set size of one process in bytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if "Pss:" in line)


def measured(command: list[str], seconds: float | None = None) -> tuple[str, int]:
    """Run a command, for so long at most; its output and its tree's peak PSS in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            peak = max(peak, sum(map(pss, tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    done.set()
    watcher.join()
    return output, peak


def searched(folder: Path, workers: int) -> tuple[dict[str, float], list[list[int]]]:
    """Of client training, from observations and journal; widths of some networks that it trained.

    These are evenly spread over its samples, from first to last.
    """
    start = json.loads((folder / "journal" / "start.json").read_text())
    networks = {}
    for path in (folder / "journal").glob("*/generated.json"):
        generated = json.loads(path.read_text())
        for candidate in generated["candidates"]:
            networks[path.parent.name, candidate["name"]] = candidate
    spans, samples, full, trained = [], 0.0, 0.0, []
    for line in (folder / "observations.jsonl").read_text().splitlines():
        task = json.loads(line)
        if task["kind"] != "train" or task["reason"]:
            continue
        iteration, _, candidate, *_ = task["task"].split("/")
        network = networks[iteration, candidate]
        spans.append((task["time"] - task["wall_seconds"], task["time"]))
        samples += task["sums"]["samples"]
        full += task["sums"]["samples"] * network["costs"]["macs"] / start["costs"]["macs"]
        trained.append((samples, network["architecture"]["choices"]["widths"]))
    busy, until = 0.0, 0.0
    for begin, end in sorted(spans):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    wanted = [samples * (index + 0.5) / NETWORKS for index in range(NETWORKS)]
    return {
        "trainSamples": samples,
        "trainingSeconds": busy,
        "trainingShare": sum(end - begin for begin, end in spans) / (workers * busy),
        "samplesPerSecond": samples / busy,
        "fullSamplesPerSecond": full / busy,
    }, [next(widths for so_far, widths in trained if so_far >= at) for at in wanted]


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[], help="as of fednas run")
    parser.add_argument("--plain", type=json.loads, help="only the plain loop, of these widths")
    options = parser.parse_args()
    if options.plain is not None:
        plain_loop(options.file, options.seconds, options.set, options.plain)
        return
    changes = [f"--set={change}" for change in options.set]

    def plain(widths: list[list[int]]) -> tuple[list[float], int]:
        """Samples per second of each network, or of the start; bytes."""
        command = [sys.executable, __file__, options.file, *changes]
        command += [f"--plain={json.dumps(widths)}"]
        command += [f"--seconds={options.seconds / 2 / max(1, len(widths))}"]
        output, memory = measured(command)
        rates: list[float] = json.loads(output)["samplesPerSecond"]
        return rates, memory

    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "fednas", "run", options.file, "--dir", f"{folder}/run"]
        run += ["--tracking", "none", "--workers", str(options.workers), *changes]
        before, plain_memory = plain([])
        _, memory = measured(run, options.seconds + 15)
        after, _ = plain([])
        found: dict[str, Any]
        found, widths = searched(Path(folder) / "run", options.workers)
        same, _ = plain(widths)
    mean = fmean(before + after)
    found |= {
        "workers": options.workers,
        "plainSamplesPerSecond": before + after,
        "plainSamplesPerSecondSameNetworks": same,
        "ratio": found["fullSamplesPerSecond"] / mean,
        "ratioUnweighted": found["samplesPerSecond"] / mean,
        "ratioSameNetworks": found["samplesPerSecond"] / harmonic_mean(same),
        "peakMemoryMB": memory / 1e6,
        "plainPeakMemoryMB": plain_memory / 1e6,
    }
    text = json.dumps(found, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
