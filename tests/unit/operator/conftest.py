from __future__ import annotations

import copy
from typing import Any

import pytest

from fednas_operator import names
from fednas_operator.settings import Settings
from tests.unit.operator.simulation import RESOURCE, SETTINGS, UID, Simulation


@pytest.fixture
def resource() -> dict[str, Any]:
    return copy.deepcopy(RESOURCE)


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
def simulation(resource: dict[str, Any]) -> Simulation:
    return Simulation(resource)


@pytest.fixture
def pod() -> Any:
    """Build a pod of a class, or the coordinator's, with a container in some state."""

    def build(device_class: str | None = "phone", **container: Any) -> dict[str, Any]:
        role = "client" if device_class else "coordinator"
        return {
            "metadata": {
                "name": f"{device_class or role}-x",
                "labels": names.labels("two-classes", UID, role, device_class),
            },
            "status": {"containerStatuses": [{"name": role, "image": "i", **container}]},
        }

    return build
