"""The table of strategies: the name in the spec -> what makes one of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fednas.search._netadapt import NetAdaptSearch
from fednas.search._own import own_strategy
from fednas.search._random import RandomSearch
from fednas.search._strategy import Strategy
from fednas.search._uniform import UniformSearch
from fednas.spec import FederatedSearch

__all__ = ["STRATEGIES", "strategy_of"]

STRATEGIES: dict[str, Callable[[Any], Strategy]] = {
    "netAdapt": NetAdaptSearch,
    "random": RandomSearch,
    "uniform": UniformSearch,
    "module": own_strategy,
}


def strategy_of(search: FederatedSearch) -> Strategy:
    """The strategy that a spec chose.

    Raises
    ------
    BadInput
        It is one's own, and cannot be imported, refuses its arguments or is no strategy.
    """
    name, settings = search.spec.strategy.chosen
    return STRATEGIES[name](settings)
