"""What ten thousand clients cost the program that decides, with training replaced by nothing.

    python bench/scale.py [--clients 10000] [--iterations 20] [--out FILE]

A search of MobileNetV1 over that many clients in 14 groups runs on a fleet that answers at once
with made-up updates, so everything measured is the search's own: the size of its journal, memory
beyond the process's own, the longest that its event loop stood still, the time of a status at the
end, and the time of a replay. An update's weights are never stored, only named.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fednas.data import Shard, Shards
from fednas.models import Architecture, decode, encode
from fednas.search import Inputs, StartFile, View, run_search, status_of
from fednas.space import Space, derive, trace
from fednas.spec import FederatedSearch, clients, load_spec
from fednas.store import Blobs, FolderStore, Layout
from fednas.work import Pending, Task, TaskResult

GROUPS = 14


def made_up(num_clients: int, iterations: int) -> FederatedSearch:
    """The spec."""
    return load_spec(
        {
            "apiVersion": "fednas.dev/v1alpha1",
            "kind": "FederatedSearch",
            "metadata": {"name": "scale"},
            "spec": {
                "model": {
                    "name": "mobilenet_v1",
                    "args": {"widthMultiplier": 0.25},
                    "initial": {"weights": "start.safetensors"},
                },
                "data": {"source": "made-up"},
                "target": {"macs": {"share": 0.05}},
                "strategy": {
                    "netAdapt": {
                        "maxIterations": iterations,
                        "firstStep": 0.03,
                        "stepDecay": 1.0,
                        "clientGroups": GROUPS,
                        "rounds": {"constant": {"pre": 2, "post": 3}},
                    }
                },
                "deviceClasses": [
                    {"name": "phone", "clients": num_clients * 3 // 4},
                    {"name": "hub", "clients": num_clients - num_clients * 3 // 4},
                ],
            },
        }
    )


def shards_of(search: FederatedSearch) -> Shards:
    """Shards that nobody reads."""
    part = Shard(shard="0" * 64, samples=50)
    return Shards(
        input=(3, 32, 32),
        classes=10,
        clients={client.name: part for client in clients(search)},
        validation=part,
        calibration=part,
        test=None,
        digest="made-up",
        labels=tuple(range(10)),
        test_only=(),
        majority=0.1,
        files=(),
    )


class InstantFleet:
    """Answers every task at once; weights are cut and passed on, never trained."""

    def __init__(self, blobs: Blobs, space: Space) -> None:
        self.blobs = blobs
        self.space = space
        self.tasks = 0

    def submit(self, task: Task) -> Pending:
        self.tasks += 1
        pending = Pending(task)
        pending.started.set_result(0.0)
        pending.future.set_result(self._done(task))
        return pending

    def cancel(self, pending: Pending) -> None:
        pending.future.cancel()

    def close(self) -> None:
        pass

    def _done(self, task: Task) -> TaskResult:
        name = hashlib.sha256(task.id.encode()).hexdigest()
        match task.kind:
            case "train":
                sums = {"samples": 64.0, "loss": 1.0}
                return TaskResult(outputs={"weights": name}, sizes={"weights": 900_000}, sums=sums)
            case "aggregate":
                return TaskResult(outputs={"mean": self.blobs.put(name.encode())})
            case "evaluate":
                correct = 2000.0 + int(name[:6], 16) % 2000
                sums = {"correct": correct, "total": 5000.0, "loss": 5000 - correct}
                return TaskResult(outputs={"weights": self._weights(task)}, sums=sums)
            case "compare":
                names = ("difference", "squares", "won", "lost", "samples")
                return TaskResult(sums=dict.fromkeys(names, 1.0))
            case "derive":
                return TaskResult(outputs={"weights": self._derived(task)})
            case _:
                numerics = json.dumps({"digest": "0" * 64}).encode()
                return TaskResult(
                    outputs={
                        "space": self.blobs.put(self.space.to_json()),
                        "numerics": self.blobs.put(numerics),
                    }
                )

    def _weights(self, task: Task) -> str:
        """Zeros of the network that is evaluated, told apart by one number."""
        widths = Architecture.model_validate(task.params["architecture"]).widths
        vector = self._zeros(widths)
        vector[0] = int(hashlib.sha256(task.id.encode()).hexdigest()[:6], 16)
        return self.blobs.put(encode(vector))

    def _derived(self, task: Task) -> str:
        parent = Architecture.model_validate(task.params["parent"])
        child = Architecture.model_validate(task.params["child"])
        vector = decode(self.blobs.get(task.inputs["weights"]))
        return self.blobs.put(encode(derive(self.space, parent, vector, child)))

    def _zeros(self, widths: tuple[int, ...]) -> NDArray[np.float32]:
        shapes = self.space.shapes(widths).values()
        return np.zeros(sum(int(np.prod(shape)) for shape in shapes), np.float32)


class Stillness:
    """The longest that an event loop did not turn, seen by a thread that asks it to."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._policy = asyncio.get_event_loop_policy()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, on the loop."""
        before = time.monotonic()

        def turn() -> None:
            nonlocal before
            now = time.monotonic()
            self.longest = max(self.longest, now - before - 0.01)
            before = now
            loop.call_later(0.01, turn)

        loop.call_soon(turn)


def memory() -> int:
    """Bytes that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(num_clients: int, iterations: int) -> dict[str, Any]:
    """Run, look, replay."""
    search = made_up(num_clients, iterations)
    architecture = Architecture.model_validate(
        {
            "family": "mobilenet_v1",
            "args": {"inputChannels": 3, "inputSize": 32, "classes": 10, "widthMultiplier": 0.25},
            "choices": {"widths": [8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256]},
        }
    )
    space, shards, stillness = trace(architecture), shards_of(search), Stillness()
    with tempfile.TemporaryDirectory() as folder:
        store, layout, watched = FolderStore(Path(folder)), Layout(), False
        fleet = InstantFleet(Blobs(store, layout.blobs), space)
        statuses: list[float] = []
        view = View()

        def run(view: View) -> float:
            def told(_: object) -> None:
                nonlocal watched
                if not watched and threading.current_thread() is threading.main_thread():
                    stillness.watch(asyncio.get_running_loop())
                    watched = True

            begun = time.monotonic()
            run_search(
                search,
                store=store,
                layout=layout,
                fleet=fleet,
                inputs=Inputs(
                    shards=lambda: shards,
                    weights=lambda: StartFile(
                        "start.safetensors", encode(fleet._zeros(architecture.widths))
                    ),
                    table=lambda field, path: b"",
                ),
                timeout=600.0,
                view=view,
                on_event=told,
            )
            return time.monotonic() - begun

        before = memory()
        seconds = run(view)
        grown = memory() - before
        for _ in range(5):
            begun = time.monotonic()
            status_of(view, search)
            statuses.append(time.monotonic() - begun)
        begun = time.monotonic()
        run_search(
            search,
            store=store,
            layout=layout,
            fleet=fleet,
            inputs=Inputs(
                shards=lambda: shards,
                weights=lambda: StartFile("start.safetensors", b""),
                table=lambda field, path: b"",
            ),
            timeout=None,
        )
        replay = time.monotonic() - begun
        return {
            "clients": num_clients,
            "iterations": view.iteration,
            "updates": view.ledger.search.client_rounds,
            "entries": len(view.entries),
            "seconds": seconds,
            "journalMB": size(Path(folder) / "journal") / 1e6,
            "memoryMB": grown / 1e6,
            "longestStillnessSeconds": stillness.longest,
            "statusMilliseconds": 1000 * max(statuses),
            "replaySeconds": replay,
        }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = json.dumps(measure(options.clients, options.iterations), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
