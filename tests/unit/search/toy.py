"""A toy network of four layers whose work is done by numpy: a search without torch.

Layer i has ``w[i]`` filters of 3 numbers; MACs are ``w0*w1 + w1*w2 + w2*w3 + 10*w3``. Training
moves the weights by noise from the task's seed, evaluation reads accuracy and loss off their digest
and the rows': the validation and the test rows say different things.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fednas.data import Shards, load_dataset, make_shards
from fednas.models import Architecture, decode, encode, start_architecture
from fednas.resources import Operation, Terms
from fednas.search import Event, Inputs, Recorded, StartFile, View, run_search
from fednas.space import Group, Slice, Space, derive
from fednas.spec import FederatedSearch, load_spec
from fednas.store import Blobs, Layout, Store, canonical_json, digest_of
from fednas.work import KINDS, Pending, Task, TaskResult, clipped, weighted_mean
from tests.memory_store import MemoryStore

DIGITS = load_dataset("digits")
OPERATIONS = tuple(
    Operation(
        name="conv",
        kernel=1,
        stride=1,
        size=1,
        inputs=(1, (index,)),
        outputs=(1, (index + 1,)),
    )
    for index in range(3)
)
LAYERS = ("conv0", "conv1", "conv2", "conv3")


SHRINKING = {
    "maxIterations": 3,
    "firstStep": 0.2,
    "stepDecay": 0.9,
    "clientGroups": 4,
    "rounds": {"constant": {"pre": 1, "post": 1}},
}
CHOOSING = {
    "order": "accuracy",
    "screening": {"none": {}},
    "earlyDrop": {"topK": {"keep": 2}},
}


def search(*overrides: str, strategy: str = "netAdapt", **changes: Any) -> FederatedSearch:
    """Twelve clients in four groups, every candidate trained; ``changes`` are the strategy's."""
    settings = SHRINKING | ({} if strategy == "uniform" else CHOOSING) | changes
    return load_spec(
        {
            "apiVersion": "fednas.dev/v1alpha1",
            "kind": "FederatedSearch",
            "metadata": {"name": "toy"},
            "spec": {
                "model": {
                    "name": "cnn",
                    "args": {"widthMultiplier": 0.5},
                    "initial": {"training": {"rounds": 2, "clientsPerRound": 3}},
                },
                "data": {"source": "digits"},
                "target": {"macs": {"share": 0.5}},
                "strategy": {strategy: settings},
                "training": {"batchSize": 32},
                "deviceClasses": [
                    {"name": "phone", "clients": 8},
                    {"name": "hub", "clients": 4, "budget": {"macs": {"share": 0.9}}},
                ],
            },
        },
        overrides,
    )


def network(*widths: int) -> Architecture:
    start = start_architecture("cnn", channels=1, size=8, classes=10, width_multiplier=0.5)
    return start.with_widths(widths) if widths else start


def space(start: Architecture | None = None, *, min_batch: int = 1) -> Space:
    start = start or network()
    return Space(
        start=start,
        tensors=tuple(
            (f"{name}.weight", (width, 3)) for name, width in zip(LAYERS, start.widths, strict=True)
        ),
        groups=tuple(
            Group(
                name=name,
                choice=index,
                width=width,
                slices=(Slice(tensor=f"{name}.weight", dim=0),),
                producers=(f"{name}.weight",),
            )
            for index, (name, width) in enumerate(zip(LAYERS, start.widths, strict=True))
        ),
        macs_terms=Terms.collect([(1, (0, 1)), (1, (1, 2)), (1, (2, 3)), (10, (3,))]),
        params_terms=Terms.collect([(3, (index,)) for index in range(4)]),
        activation_terms=Terms.collect([(40, (0,)), (20, (1,)), (8, ())]),
        operations=OPERATIONS,
        min_batch=min_batch,
    )


DONE = (
    "accept",
    "aggregate",
    "compare",
    "derive",
    "distil",
    "evaluate",
    "initialise",
    "train",
    "trainClipped",
)
"""The kinds that the toy fleet does by itself."""


class ToyFleet:
    """Does every task at once, in the thread that submits it.

    ``before`` may raise to stand for a kill, ``failing`` for the task's own failure. No accuracy is
    below ``worst`` of 100.
    """

    def __init__(
        self,
        store: Store,
        layout: Layout,
        before: Callable[[Task], None] = lambda task: None,
        *,
        failing: Callable[[Task], None] = lambda task: None,
        worst: int = 60,
        numerics: str = "toy 1",
        min_batch: int = 1,
    ) -> None:
        self.blobs = Blobs(store, layout.blobs)
        self.before = before
        self.failing = failing
        self.worst = worst
        self.numerics = numerics
        self.min_batch = min_batch
        self.done: list[str] = []

    def submit(self, task: Task) -> Pending:
        self.before(task)
        pending = Pending(task)
        pending.started.set_result(0.0)
        try:
            self.failing(task)
            pending.future.set_result(self._do(task))
        except Exception as error:
            pending.future.set_exception(error)
        self.done.append(task.id)
        return pending

    def cancel(self, pending: Pending) -> None:
        pending.future.cancel()

    def close(self) -> None:
        pass

    def _do(self, task: Task) -> TaskResult:
        if task.kind not in DONE:
            return self._other(task)
        inputs = {name: self.blobs.get(digest) for name, digest in task.inputs.items()}
        output = "weights"
        if task.kind == "compare":
            return self._result(_compared(inputs["weights"], inputs["rival"]))
        if task.kind == "initialise":
            widths = Architecture.model_validate(task.params["architecture"]).widths
            vector = np.random.default_rng(task.seed).random(3 * sum(widths), np.float32)
        elif task.kind == "derive":
            vector = derive(
                Space.from_json(inputs["space"]),
                Architecture.model_validate(task.params["parent"]),
                decode(inputs["weights"]),
                Architecture.model_validate(task.params["child"]),
            )
        elif task.kind in ("train", "distil"):
            vector = decode(inputs["weights"])
            vector += np.random.default_rng(task.seed).random(vector.size, np.float32)
        elif task.kind == "trainClipped":
            size, output = decode(inputs["weights"]).size, "update"
            update = np.random.default_rng(task.seed).random(size)
            mask = np.ones(size, np.bool_)
            vector = clipped(update, task.params["clip_norm"], mask).astype(np.float32)
        elif task.kind == "evaluate":
            vector = decode(inputs["weights"])
        else:
            shares, output = task.params["weights"], "mean"
            vector = weighted_mean((decode(inputs[c]), shares[c]) for c in sorted(inputs))
        blob = encode(vector)
        rows = task.data.get("shard", "") if task.kind == "evaluate" else ""
        luck = _luck(blob + rows.encode())
        sums = {
            "samples": 1,
            "loss": 30 - luck,
            "correct": self.worst + luck,
            "total": 100,
        }
        return self._result(sums, **{output: blob})

    def _other(self, task: Task) -> TaskResult:
        """Tracing, and kinds that a test brings."""
        if task.kind == "trace":
            start = Architecture.model_validate(task.params["architecture"])
            numerics = {"numpy": self.numerics, "digest": digest_of(self.numerics.encode())}
            return self._result(
                space=space(start, min_batch=self.min_batch).to_json(),
                numerics=canonical_json(numerics),
            )
        work = KINDS[task.kind].execute(task, _Source(self.blobs))
        return self._result(work.sums, **work.outputs)

    def _result(self, sums: dict[str, float] | None = None, **outputs: bytes) -> TaskResult:
        return TaskResult(
            outputs={name: self.blobs.put(blob) for name, blob in outputs.items()},
            sizes={name: len(blob) for name, blob in outputs.items()},
            sums=sums or {},
        )


def _luck(blob: bytes) -> int:
    return int(digest_of(blob)[:6], 16) % 30


def _compared(winner: bytes, rival: bytes) -> dict[str, float]:
    """On a hundred images, each network alone right on as many as it has luck."""
    won, lost = _luck(winner), _luck(rival)
    return {
        "difference": won - lost,
        "squares": won + lost,
        "won": won,
        "lost": lost,
        "samples": 100,
    }


class _Source:
    """Weight blobs; no rows."""

    def __init__(self, blobs: Blobs) -> None:
        self.blob = blobs.get

    def rows(self, digest: str) -> Any:
        raise AssertionError(digest)

    def upload(self, key: str) -> bytes:
        raise AssertionError(key)


def run(
    spec: FederatedSearch,
    store: Store,
    *,
    before: Callable[[Task], None] = lambda task: None,
    on_event: Callable[[Event], None] = lambda event: None,
    weights: Callable[[], bytes | StartFile] = bytes,
    shards: Shards | None = None,
    table: Callable[[str, str], bytes] = lambda field, path: b"",
    accept_new_numerics: bool = False,
    **fleet: Any,
) -> View:
    """Run a search on the toy fleet, or go on with it."""
    layout = Layout()
    made = ToyFleet(store, layout, before, **fleet)
    cut = shards or make_shards(spec, DIGITS, digest_of)

    def start() -> StartFile:
        found = weights()
        return found if isinstance(found, StartFile) else StartFile("start.safetensors", found)

    return run_search(
        spec,
        store=store,
        layout=layout,
        fleet=made,
        inputs=Inputs(shards=lambda: cut, weights=start, table=table),
        timeout=None,
        on_event=on_event,
        accept_new_numerics=accept_new_numerics,
    )


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs but ``finally``."""


class KillAt:
    """Raises at the n-th task, or at the n-th entry."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, what: Task | Event) -> None:
        if isinstance(what, Task | Recorded):
            self.left -= 1
            if self.left < 0:
                raise Killed


def journal(store: MemoryStore) -> dict[str, bytes]:
    return {key: data for key, data in store.objects.items() if key.startswith("journal/")}


def killed_at_each_entry(spec: FederatedSearch) -> View:
    """A search that is killed at its first entry, then at its second, and so on, to the end.

    Its journal and ladder are, byte for byte, those of one that nobody disturbed.
    """
    undisturbed, store, lives = MemoryStore(), MemoryStore(), 0
    run(spec, undisturbed)
    while True:
        lives += 1
        try:
            view = run(spec, store, on_event=KillAt(lives))
        except Killed:
            continue
        break
    assert lives == len(view.entries)
    for prefix in ("journal/", "ladder/"):
        assert {key: data for key, data in store.objects.items() if key.startswith(prefix)} == {
            key: data for key, data in undisturbed.objects.items() if key.startswith(prefix)
        }
    return view
