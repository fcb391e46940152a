"""Steady training throughput and memory of a search, against a plain loop, in one run.

    python bench/throughput.py examples/cifar10.yaml --out bench/results/throughput.json \\
        --set strategy.netAdapt.rounds.constant.pre=2

The plain loop is what one would write by hand: one process, one torch thread, the same network at
full width, the same images, batch size and optimizer, no federation. It runs before and after the
search, and the mean of both counts, since machines drift. The search is stopped after ``seconds``
of steady work. Its samples are those of client training, over the time in which any client trained;
its evaluations are counted apart. A cut network costs less than the whole one, so samples are
weighted by their MACs: one *full sample* is a forward and backward pass of the starting network.
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
from typing import Any


def plain_loop(file: str, seconds: float) -> None:
    """Train for a while; print samples per second."""
    import torch

    from fednas.data import encode_rows, load_dataset, open_rows
    from fednas.models import build, start_architecture
    from fednas.spec import load_spec
    from fednas.training import train

    torch.set_num_threads(1)
    search = load_spec(file)
    data = load_dataset(search.spec.data.source, search.spec.data.columns)
    rows = open_rows(encode_rows(data.images, data.labels))
    channels, size, _ = data.shape
    args = search.spec.model.args
    network = build(
        start_architecture(
            search.spec.model.family,
            channels=channels,
            size=size,
            classes=data.classes,
            width_multiplier=args.width_multiplier,
            widths=args.widths,
        )
    )
    sgd, batch = search.spec.training.optimizer.sgd, search.spec.training.batch_size

    def epoch(seed: int) -> int:
        return train(
            network, rows, data.shape, epochs=0.25, batch_size=batch, optimizer=sgd, seed=seed
        ).samples

    epoch(0)
    begun, samples, number = time.monotonic(), 0, 1
    while time.monotonic() - begun < seconds:
        samples += epoch(number)
        number += 1
    print(json.dumps({"samplesPerSecond": samples / (time.monotonic() - begun)}))


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


def searched(folder: Path) -> dict[str, float]:
    """Throughput of client training, from the run folder's observations and journal."""
    start = json.loads((folder / "journal" / "start.json").read_text())
    macs = {}
    for path in (folder / "journal").glob("*/generated.json"):
        generated = json.loads(path.read_text())
        for candidate in generated["candidates"]:
            macs[path.parent.name, candidate["name"]] = candidate["costs"]["macs"]
    spans, samples, full = [], 0.0, 0.0
    for line in (folder / "observations.jsonl").read_text().splitlines():
        task = json.loads(line)
        if task["kind"] != "train" or task["reason"]:
            continue
        iteration, _, candidate, *_ = task["task"].split("/")
        spans.append((task["time"] - task["wall_seconds"], task["time"]))
        samples += task["sums"]["samples"]
        full += task["sums"]["samples"] * macs[iteration, candidate] / start["costs"]["macs"]
    busy, until = 0.0, 0.0
    for begin, end in sorted(spans):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return {
        "trainSamples": samples,
        "trainingSeconds": busy,
        "samplesPerSecond": samples / busy,
        "fullSamplesPerSecond": full / busy,
    }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[], help="as of fednas run")
    parser.add_argument("--plain", action="store_true", help="only the plain loop")
    options = parser.parse_args()
    if options.plain:
        plain_loop(options.file, options.seconds)
        return
    plain = [
        sys.executable,
        __file__,
        options.file,
        "--plain",
        "--seconds",
        str(options.seconds / 2),
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "fednas", "run", options.file, "--dir", f"{folder}/run"]
        run += ["--tracking", "none", "--workers", str(options.workers)]
        run += [f"--set={change}" for change in options.set]
        before, plain_memory = measured(plain)
        _, memory = measured(run, options.seconds + 15)
        after, _ = measured(plain)
        found: dict[str, Any] = dict(searched(Path(folder) / "run"))
    loops = [json.loads(text)["samplesPerSecond"] for text in (before, after)]
    mean = sum(loops) / 2
    found |= {
        "workers": options.workers,
        "plainSamplesPerSecond": loops,
        "ratio": found["fullSamplesPerSecond"] / mean,
        "ratioUnweighted": found["samplesPerSecond"] / mean,
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
