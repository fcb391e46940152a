"""What one pass knows: everything that a decision may depend on, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import names

__all__ = ["Object", "Problem", "World"]

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why a search does not go on as it should: a condition's reason and message."""

    reason: str
    message: str


@dataclass(frozen=True)
class World:
    """One search and its children, as the API server and the coordinator gave them.

    Parameters
    ----------
    search : mapping
        The FederatedSearch.
    now : datetime
        In UTC.
    config_map : mapping or None
        With the frozen spec.
    deployments, services, service_accounts, policies : mapping of name to object
        Children of this search (by owner reference), never of an older one of the same name.
    pods : tuple of mapping
        Of this search, by label.
    report : mapping or None
        The coordinator's ``/v1/status``, or None if it does not answer.
    silence : Problem or None
        Why a ready coordinator has given no sound answer for some passes.
    problem : Problem or None
        Why the last pass could not carry out an action.
    """

    search: Object
    now: datetime
    config_map: Object | None = None
    deployments: Mapping[str, Object] = field(default_factory=dict)
    services: Mapping[str, Object] = field(default_factory=dict)
    service_accounts: Mapping[str, Object] = field(default_factory=dict)
    policies: Mapping[str, Object] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    report: Object | None = None
    silence: Problem | None = None
    problem: Problem | None = None

    @property
    def uid(self) -> str:
        """Of the search."""
        return str(self.search["metadata"]["uid"])

    @property
    def name(self) -> str:
        """Of the search."""
        return str(self.search["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Of the search and all its children."""
        return str(self.search["metadata"]["namespace"])

    @property
    def spec(self) -> Object:
        """The resource's spec as it is now, not the frozen one."""
        spec: Object = self.search["spec"]
        return spec

    @property
    def status(self) -> Object:
        """The status as last written."""
        return self.search.get("status") or {}

    @property
    def frozen(self) -> str | None:
        """The text of the frozen spec, from the ConfigMap or from the coordinator's Deployment."""
        if self.config_map is not None:
            return str(self.config_map["data"][names.SPEC_FILE])
        return self.made_after

    @property
    def lost(self) -> bool:
        """Whether a spec was frozen, and both its copies are gone."""
        children = (self.deployments, self.services, self.service_accounts, self.policies)
        reported = {"clients", "rounds"} & self.status.keys()  # by the coordinator
        return self.frozen is None and (any(children) or bool(reported))

    @property
    def given(self) -> str | None:
        """What the user had said when it was frozen; None: that was an earlier operator."""
        return _annotation(self.config_map or self.coordinator, names.GIVEN)

    @property
    def coordinator(self) -> Object | None:
        """The coordinator's Deployment."""
        return self.deployments.get(names.child_name(self.name, names.COORDINATOR, self.uid))

    @property
    def made_after(self) -> str | None:
        """The text of the spec after which the Deployments were made."""
        return _annotation(self.coordinator, names.SPEC)

    @property
    def renewed(self) -> bool:
        """Whether that is the frozen one, and not one before it."""
        return self.config_map is None or not self.deployments or self.made_after == self.frozen

    @property
    def num_running(self) -> int:
        """Pods that are there or still to come."""
        wanted = sum(int(item["spec"].get("replicas") or 0) for item in self.deployments.values())
        ended = {"Failed", "Succeeded"}
        alive = [pod for pod in self.pods if (pod.get("status") or {}).get("phase") not in ended]
        return max(wanted, len(alive))

    @property
    def suspended(self) -> bool:
        """Whether the user wants it to pause."""
        return bool(self.spec.get("suspend", False))

    def condition(self, kind: str) -> Object | None:
        """The condition of that type in the resource's status, if there is one."""
        for condition in self.status.get("conditions") or ():
            if condition["type"] == kind:
                found: Object = condition
                return found
        return None

    def holds(self, kind: str) -> bool:
        """Whether that condition is True."""
        condition = self.condition(kind)
        return condition is not None and condition["status"] == "True"

    @property
    def cut_short(self) -> bool:
        """Whether the operator ended it: its coordinator knows nothing of that."""
        failed = self.condition("Failed")
        return failed is not None and failed["reason"] == "DeadlineExceeded"

    @property
    def terminal(self) -> bool:
        """Whether the resource's status says that the search is over."""
        return self.holds("Complete") or self.holds("Failed")


def _annotation(item: Object | None, name: str) -> str | None:
    found: str | None = ((item or {"metadata": {}})["metadata"].get("annotations") or {}).get(name)
    return found
