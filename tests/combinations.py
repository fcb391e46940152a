"""Every network with every strategy, one's own of both included, as searches of seconds.

Two iterations over the 8 x 8 digits, each a tenth of the start's MACs; the target is out of their
reach, so that there are two whatever the layers' granularity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fednas.spec import FederatedSearch, load_spec

__all__ = ["NETWORKS", "OWN", "STEP", "STRATEGIES", "combination"]

OWN = Path(__file__).parents[1] / "examples" / "own"
"""The folder of one's own network and strategy, outside the package."""

STEP = 0.1

NETWORKS: dict[str, dict[str, Any]] = {
    "own": {"module": "nets:build", "args": {"widths": [8, 8, 16]}},
    "cnn": {"name": "cnn", "args": {"widthMultiplier": 0.25}},
    "mobilenet_v1": {"name": "mobilenet_v1", "args": {"widthMultiplier": 0.125}},
    "mobilenet_v2": {"name": "mobilenet_v2", "args": {"widthMultiplier": 0.125}},
    "resnet20": {"name": "resnet20", "args": {"widthMultiplier": 0.25}},
}

_SHRINKING: dict[str, Any] = {
    "maxIterations": 2,
    "firstStep": STEP,
    "clientGroups": 2,
    "rounds": {"constant": {"pre": 1, "post": 1}},
}
_CHOOSING = _SHRINKING | {"screening": {"topK": {"keep": 2}}, "earlyDrop": {"topK": {"keep": 1}}}

STRATEGIES: dict[str, dict[str, Any]] = {
    "module": {"path": "strategies:Pairs", "args": _CHOOSING},
    "netAdapt": _CHOOSING,
    "random": _CHOOSING | {"candidates": 3},
    "uniform": _SHRINKING,
}

# One client a round: on so few rows, steps one after the other teach a deep network more than as
# many side by side, whose weights are averaged.
_TRAINING = {
    "rounds": 16,
    "clientsPerRound": 1,
    "batchSize": 32,
    "optimizer": {"sgd": {"learningRate": 0.1}},
}


def combination(network: str, strategy: str, weights: Path | None = None) -> FederatedSearch:
    """A search by names of `NETWORKS` and `STRATEGIES`, from trained weights where they are."""
    initial = {"training": _TRAINING} if weights is None else {"weights": str(weights)}
    return load_spec(
        {
            "apiVersion": "fednas.dev/v1alpha1",
            "kind": "FederatedSearch",
            "metadata": {"name": f"{network}-{strategy}".lower().replace("_", "-")},
            "spec": {
                "model": NETWORKS[network] | {"initial": initial},
                "data": {"source": "digits", "evaluation": {"central": {"fraction": 0.05}}},
                "target": {"macs": {"share": 0.3}},
                "strategy": {strategy: STRATEGIES[strategy]},
                "baseline": "none",
                "training": {"epochs": 0.25, "batchSize": 32},
                "deviceClasses": [
                    {
                        "name": "phone",
                        "clients": 4,
                        "resources": {"limits": {"cpu": "500m", "memory": "768Mi"}},
                    }
                ],
            },
        }
    )
