"""Is a cell that clients searched worth its search, beside cells drawn by chance?

    python bench/cells.py examples/cifar10.yaml --data DIR --out FILE [--seeds 0 1 2]

The space is that of DARTS (arXiv 1806.09055), at a CPU's size: a convolution of stride 2, a normal,
a reduction and a normal cell of 2 nodes, 8 operations an edge, 8 channels in the search and 16
after it. The clients of the file search twice in it, each time over all weights and architecture
variables, which are both averaged (FedAvg):

- `snas` (arXiv 1812.09926): one concrete sample of every edge a batch, its temperature falling in a
  line from 1 to 0.03, the sample's expected multiply-accumulates in the loss; the likeliest
  operation of every edge is kept, which may be none;
- `mileNas`, the search of He et al. (arXiv 2004.08546): a softmax over the operations, the
  architecture by the gradient of the loss on both halves of a client's rows, the weights by that on
  one; the two best edges into a node are kept.

What is found is trained from random weights by FedAvg, and so is, in the same way, what costs no
search: cells drawn by the same rule whose multiply-accumulates are within a tenth of it, and
MobileNetV1 thinned alike to no more of them; and a drawn cell for as many more rounds as the search
cost the clients. Batch-norm statistics are recomputed on validation rows, as everywhere here; the
accuracy is on all test rows.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fednas.data import encode_rows, load_dataset, make_shards, open_rows, split_rows
from fednas.models import build, start_architecture
from fednas.resources import count_macs
from fednas.spec import load_spec
from fednas.training import augment, evaluate, normalise, recalibrate

OPERATIONS = ("none", "max3", "avg3", "skip", "sep3", "sep5", "dil3", "dil5")
NODES = 2
EDGES = tuple((node, source) for node in range(NODES) for source in range(node + 2))
KINDS = ("normal", "reduction", "normal")
TERMS = {"mild": 0.05, "moderate": 0.3, "aggressive": 2.0}
Choice = dict[str, list[str]]  # of each kind of cell: an operation an edge


def norm(channels: int, affine: bool) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=affine)


def operation(name: str, channels: int, stride: int, affine: bool) -> nn.Module:
    """An edge's operation: [B, C, H, W] to [B, C, H / stride, W / stride]."""

    def separable(kernel: int, stride: int, dilation: int) -> list[nn.Module]:
        pad = dilation * (kernel // 2)
        depth = nn.Conv2d(
            channels, channels, kernel, stride, pad, dilation, groups=channels, bias=False
        )
        point = nn.Conv2d(channels, channels, 1, bias=False)
        return [nn.ReLU(), depth, point, norm(channels, affine)]

    kernel = int(name[-1]) if name[-1].isdigit() else 0
    if name.startswith("sep"):
        return nn.Sequential(*separable(kernel, stride, 1), *separable(kernel, 1, 1))
    if name.startswith("dil"):
        return nn.Sequential(*separable(kernel, stride, 2))
    if name == "max3":
        return nn.Sequential(nn.MaxPool2d(3, stride, 1), norm(channels, affine))
    if name == "avg3":
        pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return nn.Sequential(pool, norm(channels, affine))
    if stride == 1:
        return nn.Identity()
    halve = nn.Conv2d(channels, channels, 1, stride, bias=False)
    return nn.Sequential(nn.ReLU(), halve, norm(channels, affine))


class Cell(nn.Module):
    """Two inputs, `NODES` sums of operations on what came before, and all of them side by side."""

    def __init__(
        self, kind: str, inputs: tuple[int, int], channels: int, shrunk: bool, choice: Choice | None
    ) -> None:
        super().__init__()
        affine = choice is not None
        stride = 2 if kind == "reduction" else 1
        self.kind = kind
        self.enter = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(wide, channels, 1, 2 if shrunk and first else 1, bias=False),
                norm(channels, affine),
            )
            for first, wide in zip((True, False), inputs, strict=True)
        )
        self.edges = nn.ModuleList()
        for index, (_, source) in enumerate(EDGES):
            names = OPERATIONS if choice is None else (choice[kind][index],)
            self.edges.append(
                nn.ModuleList(
                    operation(name, channels, stride if source < 2 else 1, affine)
                    for name in names
                    if name != "none"
                )
            )
        self.stride, self.channels = stride, channels

    def forward(self, first: Tensor, second: Tensor, weights: Tensor | None) -> Tensor:
        states = [enter(one) for enter, one in zip(self.enter, (first, second), strict=True)]
        batch, channels, height, width = states[0].shape
        for node in range(NODES):
            total = states[0].new_zeros(
                batch, channels, height // self.stride, width // self.stride
            )
            for index, (into, source) in enumerate(EDGES):
                if into != node:
                    continue
                for place, module in enumerate(self.edges[index]):
                    made = module(states[source])
                    total = total + (made if weights is None else weights[index, place + 1] * made)
            states.append(total)
        return torch.cat(states[2:], 1)


class Network(nn.Module):
    """The supernet without a choice, a network of chosen operations with one."""

    def __init__(self, channels: int, classes: int, choice: Choice | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1, bias=False), norm(channels, choice is not None)
        )
        self.cells = nn.ModuleList()
        before, last, shrunk = channels, channels, False
        for kind in KINDS:
            channels *= 2 if kind == "reduction" else 1
            self.cells.append(Cell(kind, (before, last), channels, shrunk, choice))
            before, last, shrunk = last, NODES * channels, kind == "reduction"
        self.classify = nn.Linear(last, classes)

    def forward(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        first = second = self.stem(images)
        for cell in self.cells:
            mixed = None if weights is None else weights[cell.kind]
            first, second = second, cell(first, second, mixed)
        return self.classify(second.mean((2, 3)))


@dataclass(frozen=True)
class Setting:
    """The clients of a file and what the cloud holds."""

    clients: list[Any]
    validation: Any
    test: Any
    shape: tuple[int, int, int]
    classes: int

    def batches(self, rows: Any, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch, augmented by flips."""
        order = np.random.default_rng(seed).permutation(len(rows))
        size = min(size, len(rows))
        for step in range(len(rows) // size):
            images, labels = split_rows(rows[order[step * size : (step + 1) * size]], self.shape)
            images = augment(images, ("flip",), seed + step)
            inputs = normalise(images, None).contiguous(memory_format=torch.channels_last)
            yield inputs, torch.from_numpy(labels)


def setting_of(search: Any, source: str, seed: int) -> Setting:
    found = search.to_dict()
    found["spec"]["seed"] = seed
    found["spec"]["data"]["source"] = source
    data = load_dataset(source, search.spec.data.columns)
    blobs: dict[str, Any] = {}

    def put(blob: bytes) -> str:
        blobs[str(len(blobs))] = open_rows(blob)
        return str(len(blobs) - 1)

    shards = make_shards(load_spec(found), data, put)
    return Setting(
        clients=[blobs[shard.shard].copy() for shard in shards.clients.values()],
        validation=blobs[shards.validation.shard].copy(),
        test=open_rows(encode_rows(data.test_images, data.test_labels)),
        shape=shards.input,
        classes=shards.classes,
    )


def averaged(
    module: nn.Module,
    setting: Setting,
    rounds: int,
    asked: int,
    seed: int,
    local: Callable[[nn.Module, Any, float, int], None],
) -> None:
    """FedAvg: in each round some clients train `module` by `local(module, rows, done, seed)`."""
    draw = random.Random(seed)
    for index in range(rounds):
        chosen = draw.sample(setting.clients, asked)
        total = sum(len(rows) for rows in chosen)
        mean: dict[str, Tensor] = {}
        for place, rows in enumerate(chosen):
            mine = copy.deepcopy(module)
            local(mine, rows, index / rounds, seed + 1000 * index + 100_000 * place)
            for name, value in mine.state_dict().items():
                part = value.double() * (len(rows) / total)
                mean[name] = mean[name] + part if name in mean else part
        state = module.state_dict()
        module.load_state_dict({name: value.to(state[name].dtype) for name, value in mean.items()})


class Supernet(nn.Module):
    """The weights and the architecture variables, both of which are averaged."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.network = Network(channels, classes)
        self.alpha = nn.ParameterDict(
            {
                kind: nn.Parameter(1e-3 * torch.randn(len(EDGES), len(OPERATIONS)))
                for kind in sorted(set(KINDS))
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, {kind: alpha.softmax(1) for kind, alpha in self.alpha.items()})

    def entropy(self) -> float:
        """Mean over the edges, in nats; ln 8 = 2.08 at the start."""
        chances = [alpha.detach().softmax(1) for alpha in self.alpha.values()]
        return float(torch.cat([-(p * p.log()).sum(1) for p in chances]).mean())


def prices(setting: Setting) -> dict[str, Tensor]:
    """Multiply-accumulates of each edge's operations, all cells of a kind together, as shares of
    what the dearest choice costs."""
    nothing = {kind: ["none"] * len(EDGES) for kind in set(KINDS)}
    example = torch.zeros(1, *setting.shape)

    def macs(choice: Choice) -> int:
        return count_macs(Network(8, setting.classes, choice).eval(), example)

    base = macs(nothing)
    found = {}
    for kind in nothing:
        rows = []
        for edge in range(len(EDGES)):
            row = []
            for name in OPERATIONS:
                one = copy.deepcopy(nothing)
                one[kind][edge] = name
                row.append(float(macs(one) - base))
            rows.append(row)
        found[kind] = torch.tensor(rows)
    most = sum(price.max(1).values.sum() for price in found.values())
    return {kind: price / most for kind, price in found.items()}


def by_snas(
    setting: Setting, seed: int, how: argparse.Namespace, term: float
) -> tuple[Choice, float]:
    price = prices(setting)

    def local(module: nn.Module, rows: Any, done: float, seed: int) -> None:
        assert isinstance(module, Supernet)
        sgd = torch.optim.SGD(
            module.network.parameters(), 0.05 * (1 - done), 0.9, weight_decay=3e-4
        )
        adam = torch.optim.Adam(module.alpha.parameters(), how.alpha_rate, (0.5, 0.999))
        tau = 1 + (0.03 - 1) * done
        module.train()
        for inputs, targets in setting.batches(rows, how.batch, seed):
            sampled = {
                kind: functional.gumbel_softmax(alpha, tau) for kind, alpha in module.alpha.items()
            }
            loss = functional.cross_entropy(module.network(inputs, sampled), targets)
            loss = loss + term * sum((z * price[kind]).sum() for kind, z in sampled.items())
            sgd.zero_grad()
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.network.parameters(), 5.0)
            sgd.step()
            adam.step()

    net = Supernet(8, setting.classes)
    averaged(net, setting, how.rounds, how.clients, seed, local)
    choice = {
        kind: [OPERATIONS[best] for best in alpha.argmax(1).tolist()]
        for kind, alpha in net.alpha.items()
    }
    return choice, net.entropy()


def by_milenas(setting: Setting, seed: int, how: argparse.Namespace) -> tuple[Choice, float]:
    def local(module: nn.Module, rows: Any, done: float, seed: int) -> None:
        assert isinstance(module, Supernet)
        sgd = torch.optim.SGD(
            module.network.parameters(), 0.05 * (1 - done), 0.9, weight_decay=3e-4
        )
        adam = torch.optim.Adam(module.alpha.parameters(), how.alpha_rate, (0.5, 0.999))
        half = len(rows) // 2
        module.train()
        pairs = zip(
            setting.batches(rows[:half], how.batch, seed),
            setting.batches(rows[half:], how.batch, seed + 50),
            strict=True,
        )
        for (inputs, targets), (held, truth) in pairs:
            mixed = {kind: alpha.softmax(1) for kind, alpha in module.alpha.items()}
            sgd.zero_grad()
            adam.zero_grad()
            functional.cross_entropy(module.network(inputs, mixed), targets).backward()
            nn.utils.clip_grad_norm_(module.network.parameters(), 5.0)
            kept = [
                p.grad.clone() if p.grad is not None else None for p in module.network.parameters()
            ]
            mixed = {kind: alpha.softmax(1) for kind, alpha in module.alpha.items()}
            functional.cross_entropy(module.network(held, mixed), truth).backward()
            for parameter, grad in zip(module.network.parameters(), kept, strict=True):
                parameter.grad = grad
            sgd.step()
            adam.step()

    net = Supernet(8, setting.classes)
    averaged(net, setting, how.rounds, how.clients, seed, local)
    choice = {}
    for kind, alpha in net.alpha.items():
        chances = alpha.detach().softmax(1)[:, 1:]
        sure, best = chances.max(1)
        choice[kind] = kept_two([OPERATIONS[1 + one] for one in best.tolist()], sure.tolist())
    return choice, net.entropy()


def kept_two(names: list[str], sure: list[float]) -> list[str]:
    """None on all but the two surest edges into each node."""
    kept = set()
    for node in range(NODES):
        into = [index for index, (one, _) in enumerate(EDGES) if one == node]
        kept |= set(sorted(into, key=lambda index: -sure[index])[:2])
    return [name if index in kept else "none" for index, name in enumerate(names)]


def drawn(method: str, draw: random.Random) -> Choice:
    """Cells by chance, by a method's own rule of what is kept."""
    if method == "mileNas":
        return {
            kind: kept_two(
                [draw.choice(OPERATIONS[1:]) for _ in EDGES], [draw.random() for _ in EDGES]
            )
            for kind in sorted(set(KINDS))
        }
    return {kind: [draw.choice(OPERATIONS) for _ in EDGES] for kind in sorted(set(KINDS))}


def trained(
    module: nn.Module, setting: Setting, seed: int, how: argparse.Namespace, more: int = 0
) -> float:
    """Test accuracy in per cent after FedAvg from random weights."""

    def local(mine: nn.Module, rows: Any, done: float, seed: int) -> None:
        sgd = torch.optim.SGD(mine.parameters(), 0.05 * (1 - done), 0.9, weight_decay=3e-4)
        mine.train()
        for inputs, targets in setting.batches(rows, how.batch, seed):
            sgd.zero_grad()
            functional.cross_entropy(mine(inputs), targets).backward()
            sgd.step()

    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged(module, setting, how.train_rounds + more, how.train_clients, seed, local)
    recalibrate(module, setting.validation[:1000], setting.shape)
    counted = evaluate(module.eval(), setting.test, setting.shape)
    return 100 * counted.correct / counted.total


def thinned(setting: Setting, macs: int) -> nn.Module:
    """MobileNetV1 of the widest multiplier that costs no more."""
    channels, size, _ = setting.shape
    example = torch.zeros(1, *setting.shape)
    for step in range(50, 0, -1):
        network = start_architecture(
            "mobilenet_v1",
            channels=channels,
            size=size,
            classes=setting.classes,
            width_multiplier=step / 100,
        )
        module = build(network)
        if count_macs(module.eval(), example) <= macs:
            return module
    raise SystemExit("no MobileNetV1 is as small")


def measured(
    method: str, term: str | None, setting: Setting, seed: int, how: Any
) -> Iterator[dict[str, Any]]:
    example = torch.zeros(1, *setting.shape)

    def macs(choice: Choice) -> int:
        return count_macs(Network(16, setting.classes, choice).eval(), example)

    torch.manual_seed(seed)
    began = time.monotonic()
    if method == "snas":
        choice, entropy = by_snas(setting, seed, how, TERMS[term or "moderate"])
    else:
        choice, entropy = by_milenas(setting, seed, how)
    found = {"method": method, "term": term, "seed": seed}
    size = macs(choice)
    yield found | {
        "choice": choice,
        "entropy": entropy,
        "macs": size,
        "seconds": time.monotonic() - began,
    }
    if term not in (None, "moderate"):
        return
    draw, others = random.Random(7), []
    while len(others) < how.cells:
        other = drawn(method, draw)
        if abs(macs(other) / size - 1) <= 0.1:
            others.append(other)
    rows: list[tuple[str, Callable[[], nn.Module]]] = [
        ("searched", lambda: Network(16, setting.classes, choice)),
        ("MobileNetV1", lambda: thinned(setting, size)),
        *(("drawn", lambda other=other: Network(16, setting.classes, other)) for other in others),
    ]
    supernet = count_macs(Supernet(8, setting.classes).eval(), example)
    search = how.rounds * how.clients * supernet  # and training: times the images of a client
    for name, make in [*rows, ("drawn, for the work of the search", rows[2][1])]:
        torch.manual_seed(seed)
        module = make()
        cost = count_macs(module.eval(), example)
        more = round(search / (how.train_clients * cost)) if "work" in name else 0
        accuracy = trained(module, setting, seed, how, more)
        yield found | {"row": name, "macs": cost, "moreRounds": more, "accuracy": accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--data", required=True, help="a folder with train and test*.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["snas", "mileNas"])
    parser.add_argument("--terms", nargs="+", default=["moderate"], choices=TERMS)
    parser.add_argument("--cells", type=int, default=5, help="drawn by chance")
    parser.add_argument("--rounds", type=int, default=20, help="of a search")
    parser.add_argument("--clients", type=int, default=6, help="in each of them")
    parser.add_argument("--train-rounds", type=int, default=20)
    parser.add_argument("--train-clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--alpha-rate", type=float, default=0.02)
    how = parser.parse_args()
    torch.set_num_threads(1)
    search = load_spec(how.file)
    found = []
    for seed in how.seeds:
        setting = setting_of(search, how.data, seed)
        for method in how.methods:
            for term in how.terms if method == "snas" else [None]:
                for one in measured(method, term, setting, seed, how):
                    found.append(one)
                    print(json.dumps(one), flush=True)
                    how.out.write_text(json.dumps({"how": str(how), "runs": found}, indent=1))


if __name__ == "__main__":
    main()
