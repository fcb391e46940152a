"""A search, settings, and a world in which the operator's actions take effect."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fednas_operator.actions import (
    Action,
    Consent,
    Create,
    Delete,
    Expire,
    Refreeze,
    Renew,
    Replace,
    Scale,
    WriteStatus,
)
from fednas_operator.plan import plan
from fednas_operator.settings import Settings
from fednas_operator.world import World

GOLDEN = Path(__file__).parent / "golden"
UID = "0b1f2a3c-1111-4222-8333-444444444444"
NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)

RESOURCE: dict[str, Any] = {
    "apiVersion": "fednas.dev/v1alpha1",
    "kind": "FederatedSearch",
    "metadata": {
        "name": "two-classes",
        "namespace": "team",
        "uid": UID,
        "generation": 1,
        "resourceVersion": "10",
    },
    "spec": {
        "model": {"name": "cnn"},
        "data": {"source": "digits"},
        "target": {"macs": {"share": 0.5}},
        "deviceClasses": [
            {
                "name": "phone",
                "clients": 8,
                "pods": 2,
                "resources": {"limits": {"cpu": "500m", "memory": "768Mi"}},
            },
            {
                "name": "hub",
                "clients": 4,
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            },
        ],
    },
}

SETTINGS = Settings.model_validate(
    {
        "image": {"name": "registry.example/fednas-runtime:0.1.0"},
        "masterKey": "0123456789abcdef0123456789abcdef",
        "defaults": {
            "storage": {
                "endpoint": "http://fednas-minio.fednas.svc:9000",
                "bucket": "fednas",
                "secretName": "fednas-minio",
            },
            "tracking": {"uri": "http://fednas-mlflow.fednas.svc:5000"},
        },
        "storeEgress": {
            "peers": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "fednas"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/component": "minio"}},
                }
            ],
            "ports": [9000],
        },
        "operator": {"namespace": "fednas"},
    }
)

RUNNING = {
    "version": 1,
    "over": False,
    "status": {"phase": "Searching", "iteration": 2, "rounds": 9, "startTime": "ignored"},
    "degraded": None,
    "tracking": {"pending": 3},
}
OTHER_NUMERICS = RUNNING | {
    "degraded": {"reason": "OtherNumerics", "message": "class phone: computes 1c9f, not 77ab"}
}
OVER = RUNNING | {
    "over": True,
    "failed": False,
    "reason": "Completed",
    "message": "0.48 of the MACs",
    "status": {"phase": "Complete", "iteration": 5, "rounds": 31},
}


class Simulation:
    """Carries out actions on a world, as the API server and its controllers would."""

    def __init__(self, resource: dict[str, Any]) -> None:
        self.world = World(search=copy.deepcopy(resource), now=NOW)
        self.secrets: set[str] = set()
        self.created: list[tuple[str, str]] = []

    def carry_out(self, action: Action) -> None:
        match action:
            case WriteStatus(status):
                self.change(search={**self.world.search, "status": copy.deepcopy(dict(status))})
            case Create(manifest):
                self._create(copy.deepcopy(dict(manifest)))
            case Replace(manifest) | Renew(manifest):
                field = _FIELDS[manifest["kind"]]
                name = manifest["metadata"]["name"]
                assert name in getattr(self.world, field)
                self.change(**{field: {**getattr(self.world, field), name: manifest}})
            case Scale(deployment, replicas):
                assert deployment in self.world.deployments
                found = copy.deepcopy(self.world.deployments[deployment])
                found["spec"]["replicas"] = replicas
                self.change(deployments={**self.world.deployments, deployment: found})
            case Delete(kind, name):
                self._delete(kind, name)
            case Refreeze(manifest):
                self.change(config_map=copy.deepcopy(dict(manifest)))
            case Expire():
                raise AssertionError("no test of these lets a search expire")
            case Consent():
                self.change(report={**(self.world.report or {}), "degraded": None})

    def change(self, **fields: Any) -> None:
        self.world = replace(self.world, **fields)

    def spec(self, **fields: Any) -> None:
        """Edit the resource as a user would."""
        search = copy.deepcopy(dict(self.world.search))
        search["spec"] |= fields
        search["metadata"]["generation"] += 1
        self.change(search=search)

    def pods_become_ready(self) -> None:
        ready = {}
        for name, item in self.world.deployments.items():
            ready[name] = item | {"status": {"readyReplicas": item["spec"]["replicas"]}}
        self.change(deployments=ready)

    def condition(self, kind: str) -> tuple[str, str] | None:
        found = self.world.condition(kind)
        return None if found is None else (found["status"], found["reason"])

    @property
    def kinds(self) -> set[str]:
        groups = {
            "Deployment": self.world.deployments,
            "Service": self.world.services,
            "ServiceAccount": self.world.service_accounts,
            "NetworkPolicy": self.world.policies,
            "ConfigMap": self.world.config_map,
            "Secret": self.secrets,
        }
        return {kind for kind, present in groups.items() if present}

    def _create(self, manifest: dict[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        assert manifest["metadata"]["ownerReferences"][0]["uid"] == UID
        self.created.append((kind, name))
        manifest["metadata"]["creationTimestamp"] = "2026-11-25T11:59:00Z"
        if kind == "Secret":
            self.secrets.add(name)
        elif kind == "ConfigMap":
            assert self.world.config_map is None
            self.change(config_map=manifest)
        else:
            field = _FIELDS[kind]
            assert name not in getattr(self.world, field)
            self.change(**{field: {**getattr(self.world, field), name: manifest}})

    def _delete(self, kind: str, name: str) -> None:
        if kind == "Secret":
            self.secrets.discard(name)
        elif kind == "ConfigMap":
            self.change(config_map=None)
        else:
            field = _FIELDS[kind]
            left = {key: item for key, item in getattr(self.world, field).items() if key != name}
            self.change(**{field: left})


_FIELDS = {
    "Deployment": "deployments",
    "Service": "services",
    "ServiceAccount": "service_accounts",
    "NetworkPolicy": "policies",
}


def settle(simulation: Simulation, passes: int = 12) -> list[Any]:
    """Plan and carry out until nothing is left to do."""
    done: list[Any] = []
    for _ in range(passes):
        actions = plan(simulation.world, SETTINGS)
        if not actions:
            return done
        for action in actions:
            simulation.carry_out(action)
        done += actions
    raise AssertionError(f"still at it after {passes} passes: {actions}")


def started(simulation: Simulation, report: dict[str, Any] | None = None) -> Simulation:
    settle(simulation)
    simulation.pods_become_ready()
    simulation.change(report=report)
    settle(simulation)
    return simulation
