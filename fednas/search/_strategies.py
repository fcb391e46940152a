"""The table of strategies: the name in the spec -> what makes one of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fednas.search._netadapt import NetAdaptSearch
from fednas.search._random import RandomSearch
from fednas.search._strategy import Strategy
from fednas.search._uniform import UniformSearch
from fednas.spec import FederatedSearch

__all__ = ["STRATEGIES", "strategy_of"]

STRATEGIES: dict[str, Callable[[Any], Strategy]] = {
    "netAdapt": NetAdaptSearch,
    "random": RandomSearch,
    "uniform": UniformSearch,
}


def strategy_of(search: FederatedSearch) -> Strategy:
    """The strategy that a spec chose."""
    name, settings = search.spec.strategy.chosen
    return STRATEGIES[name](settings)
