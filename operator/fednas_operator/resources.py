"""What a pod asks for and may use, and how many workers that is meant for."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_UP, Decimal
from typing import Any

from fednas.spec import quantity

__all__ = ["client_resources", "coordinator_resources", "max_workers"]

_COORDINATOR: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "250m", "memory": "512Mi"},
    "limits": {"memory": "1Gi"},
}
_CLIENT_REQUESTS: Mapping[str, str] = {"cpu": "100m", "memory": "512Mi"}
"""Of a class that says nothing: one worker and the program around it, measured at 510 MB."""


def coordinator_resources(given: Mapping[str, Any] | None) -> dict[str, dict[str, str]]:
    """As in ``spec.coordinator.resources``; each of requests and limits has a default.

    Memory that is limited and not asked for is asked for up to the limit, as Kubernetes does it.
    """
    given = given or {}
    limits, requests = _texts(given.get("limits")), _texts(given.get("requests"))
    if "memory" in limits:
        requests.setdefault("memory", limits["memory"])
    limits = limits or dict(_COORDINATOR["limits"])
    for name, value in _COORDINATOR["requests"].items():
        if name not in requests:
            requests[name] = _least(value, limits.get(name))
    return {"requests": requests, "limits": limits}


def client_resources(given: Mapping[str, Any] | None) -> dict[str, dict[str, str]]:
    """The pod resources of a device class.

    A request of memory is always the limit, so that a node never promises what it lacks; a request
    of CPU is 10 % of the limit unless given, so that many slow devices fit on one node.
    """
    given = given or {}
    limits, requests = _texts(given.get("limits")), _texts(given.get("requests"))
    if "cpu" in limits and "cpu" not in requests:
        requests["cpu"] = _tenth(limits["cpu"])
    if "memory" in limits:
        requests["memory"] = limits["memory"]
    result = {"requests": {**_CLIENT_REQUESTS, **requests}}
    if limits:
        result["limits"] = limits
    return result


def max_workers(resources: Mapping[str, Mapping[str, str]]) -> int:
    """How many workers a container may start: by its limit of CPU, else by its request.

    A container without a limit sees every core of its node, and a worker of each takes 330 MB: a
    node of 64 cores would give 21 GB to one pod that asked for a tenth of a core. Whole cores
    upwards; what the memory limit holds is counted in the container.

    >>> max_workers({"requests": {"cpu": "100m"}}), max_workers({"limits": {"cpu": "2500m"}})
    (1, 3)
    """
    cpu = (resources.get("limits") or {}).get("cpu") or resources["requests"]["cpu"]
    return max(1, int(quantity(cpu).to_integral_value(rounding=ROUND_CEILING)))


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (values or {}).items() if value is not None}


def _tenth(cpu: str) -> str:
    """A tenth, in whole millicores upwards.

    >>> _tenth("500m"), _tenth("1")
    ('50m', '100m')
    """
    milli = (quantity(cpu) * 100).to_integral_value(rounding=ROUND_UP)
    return f"{max(milli, Decimal(1))}m"


def _least(value: str, limit: str | None) -> str:
    return value if limit is None or quantity(value) <= quantity(limit) else limit
