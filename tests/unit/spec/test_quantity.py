"""Kubernetes quantities as numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fednas.spec import load_spec, quantity

from .test_load import document, problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        (2, "2"),
        ("1.5", "1.5"),
        ("768Mi", 768 * 2**20),
        ("1Gi", 2**30),
        ("1.5Ki", 1536),
        ("1k", 1000),
        ("1e3", 1000),
        ("2E2", 200),
    ],
)
def test_quantities(text: str | int, value: str | int) -> None:
    assert quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "MB", "768MB", "-1", "1 Gi", "0x10", "1e", "m", "9" * 40])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="must be a quantity"):
        quantity(text)


def resources(**given: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = document(coordinator={"resources": given})
    return found


def test_a_whole_number_is_a_quantity() -> None:
    search = load_spec(resources(limits={"cpu": 2, "memory": 2**30}))
    limits = search.spec.coordinator.resources.limits
    assert limits is not None
    assert (limits.cpu, limits.memory) == ("2", str(2**30))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"limits": {"cpu": 0.5}},
            'limits.cpu: got 0.5; must be a quantity of 10m to 1024, as text: "0.5"',
        ),
        ({"limits": {"cpu": True}}, "limits.cpu: got true; must be a quantity of 10m to 1024"),
        ({"limits": {"cpu": "1m"}}, "limits.cpu: got '1m'; must be a quantity of 10m to 1024"),
        (
            {"limits": {"memory": "512m"}},
            "limits.memory: got '512m'; must be a quantity of 16Mi to 16Ti",
        ),
        (
            {"limits": {"memory": "1Gi"}, "requests": {"memory": "1025Mi"}},
            "requests.memory: got '1025Mi'; must be at most limits.memory",
        ),
    ],
)
def test_resources_out_of_bounds(given: dict[str, dict[str, object]], line: str) -> None:
    assert problems(resources(**given)) == [f"spec.coordinator.resources.{line}"]


def test_a_request_may_equal_its_limit_in_another_unit() -> None:
    load_spec(resources(limits={"memory": "1Gi"}, requests={"memory": "1024Mi"}))
