"""Every network and every strategy in pods, one's own from the image that `examples/own` makes.

Five searches run side by side, network i with strategy i mod 4. All combinations are in
tests/integration.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

import fednas
from tests.combinations import NETWORKS, OWN, STRATEGIES, combination
from tests.e2e.conftest import Installed
from tests.e2e.kube import SEARCH

pytestmark = pytest.mark.e2e

PAIRS = dict(zip(NETWORKS, cycle(STRATEGIES)))
Statuses = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def statuses(installed: Installed) -> Iterator[Statuses]:
    """Of each network's search, at its end."""
    ns = installed.ns
    searches = {network: combination(network, strategy) for network, strategy in PAIRS.items()}
    names = [search.metadata.name for search in searches.values()]
    ns("delete", SEARCH, *names, "--ignore-not-found", "--timeout=60s")
    with installed.runtime("fednas-own"):
        for search in searches.values():
            ns.apply(search.to_dict())
        yield {
            network: ns.await_end(search.metadata.name, 300) for network, search in searches.items()
        }
        ns("delete", SEARCH, *names, "--timeout=60s")


def test_every_strategy_runs_and_one_s_own_on_one_s_own_network() -> None:
    assert set(PAIRS.values()) == set(STRATEGIES)
    assert PAIRS["own"] == "module"


@pytest.mark.parametrize("network", NETWORKS)
def test_two_iterations_in_pods_come_to_the_ladder_of_fednas_run(
    statuses: Statuses, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = combination(network, PAIRS[network])
    reference = fednas.run(spec, dir=tmp_path / "run", workers=2, tracking=None).ladder
    found = statuses[network]["ladder"]
    assert [rung["rung"] for rung in found] == [0, 1, 2]
    assert [rung["sha256"] for rung in found] == [rung.sha256 for rung in reference]
