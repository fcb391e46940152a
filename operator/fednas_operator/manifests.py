"""Pure builders: a resolved search to the manifests of its children.

Plain camelCase dicts, since the typed models of the client drop unknown fields silently. Pods pass
Pod Security ``restricted``. A pod template is never changed once made; only ``replicas`` is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from fednas.spec import DeviceClass, FederatedSearch

from . import names
from .pods import CACHE, environment, from_secret, pod_spec, probe
from .policies import network_policies
from .resources import client_resources, coordinator_resources
from .settings import Settings

__all__ = ["SPEC_FILE", "Manifest", "children", "config_map", "replicas", "secrets"]

Manifest = dict[str, Any]
SPEC_FILE = "search.json"
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Environment variables of the coordinator, and keys of the Secret that the search names."""


def children(search: FederatedSearch, uid: str, settings: Settings) -> Iterator[Manifest]:
    """Every child but ConfigMap and Secrets, in the order of creation: policies before pods."""
    name, namespace = search.metadata.name, str(search.metadata.namespace)
    yield _service_account(search, uid)
    yield from network_policies(search, uid, settings)
    yield {
        **_head("v1", "Service", search, uid, names.COORDINATOR),
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(uid, names.COORDINATOR),
            "ports": [
                {"name": "http", "port": names.PORT, "targetPort": "http", "protocol": "TCP"}
            ],
        },
    }
    yield _coordinator(search, uid, settings)
    url = f"http://{names.child_name(name, names.COORDINATOR, uid)}.{namespace}.svc:{names.PORT}"
    for device_class in search.spec.device_classes:
        yield _clients(search, uid, device_class, url, settings)


def config_map(search: FederatedSearch, uid: str) -> Manifest:
    """The resolved spec, frozen: what the coordinator mounts and journals."""
    return {
        **_head("v1", "ConfigMap", search, uid, names.COORDINATOR),
        "immutable": True,
        "data": {SPEC_FILE: json.dumps(search.to_dict(), indent=1, sort_keys=True) + "\n"},
    }


def secrets(search: FederatedSearch, uid: str, master_key: str) -> Iterator[Manifest]:
    """Tokens: each class gets its own, the coordinator the hashes of all."""
    hashes = {"operator": names.token_hash(names.token(master_key, uid, "operator"))}
    for device_class in search.spec.device_classes:
        role = names.class_role(device_class.name)
        secret = names.token(master_key, uid, role)
        hashes[role] = names.token_hash(secret)
        yield {
            **_head("v1", "Secret", search, uid, device_class.name, "client"),
            "type": "Opaque",
            "immutable": True,
            "stringData": {"token": secret},
        }
    yield {
        **_head("v1", "Secret", search, uid, names.COORDINATOR),
        "type": "Opaque",
        "immutable": True,
        "stringData": {"tokens.json": json.dumps(hashes, indent=1, sort_keys=True) + "\n"},
    }


def replicas(spec: Mapping[str, Any], uid: str, name: str) -> dict[str, int]:
    """How many pods each Deployment should have by the live resource: name -> replicas.

    ``spec`` is the resource's own, not the frozen one: ``suspend`` and ``pods`` may change.
    """
    suspended = bool(spec.get("suspend", False))
    result = {names.child_name(name, names.COORDINATOR, uid): 0 if suspended else 1}
    for device_class in spec["deviceClasses"]:
        wanted = 0 if suspended else int(device_class.get("pods", 1))
        result[names.child_name(name, device_class["name"], uid)] = wanted
    return result


def _head(
    api: str, kind: str, search: FederatedSearch, uid: str, part: str, role: str | None = None
) -> Manifest:
    name = search.metadata.name
    device_class = part if role == "client" else None
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": names.child_name(name, part, uid),
            "namespace": search.metadata.namespace,
            "labels": names.labels(name, uid, role or part, device_class),
            "ownerReferences": [names.owner(name, uid)],
        },
    }


def _selector(uid: str, role: str, device_class: str | None = None) -> dict[str, str]:
    chosen = {names.UID: uid, names.ROLE: role}
    if device_class is not None:
        chosen[names.CLASS] = device_class
    return chosen


def _service_account(search: FederatedSearch, uid: str) -> Manifest:
    head = _head("v1", "ServiceAccount", search, uid, "pods")
    return {**head, "automountServiceAccountToken": False}


def _coordinator(search: FederatedSearch, uid: str, settings: Settings) -> Manifest:
    spec = search.spec
    assert spec.storage is not None, "checked at acceptance"
    name = names.child_name(search.metadata.name, names.COORDINATOR, uid)
    given = spec.coordinator.resources if spec.coordinator else None
    container = {
        "name": "coordinator",
        "args": [
            *("coordinate", f"/etc/fednas/{SPEC_FILE}", "--search-id", uid),
            *("--listen", f"0.0.0.0:{names.PORT}", "--tokens", "/etc/fednas-tokens/tokens.json"),
        ],
        "env": [
            *environment(),
            *(from_secret(key, spec.storage.secret_name, key) for key in _CREDENTIALS),
        ],
        "ports": [{"name": "http", "containerPort": names.PORT, "protocol": "TCP"}],
        "startupProbe": probe("/healthz", period=2, failures=150),
        "readinessProbe": probe("/readyz", period=2, failures=3),
        "livenessProbe": probe("/healthz", period=20, failures=6),
        "resources": coordinator_resources(_dump(given)),
    }
    volumes = [
        ({"name": "spec", "configMap": {"name": name}}, "/etc/fednas"),
        ({"name": "tokens", "secret": {"secretName": name}}, "/etc/fednas-tokens"),
    ]
    head = _head("apps/v1", "Deployment", search, uid, names.COORDINATOR)
    account = names.child_name(search.metadata.name, "pods", uid)
    return {
        **head,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector(uid, names.COORDINATOR)},
            "template": {
                "metadata": {"labels": head["metadata"]["labels"]},
                "spec": pod_spec(container, volumes, account, settings.image, grace=30),
            },
        },
    }


def _clients(
    search: FederatedSearch, uid: str, device_class: DeviceClass, url: str, settings: Settings
) -> Manifest:
    own = device_class.name
    container = {
        "name": "client",
        "args": [
            *("client", "--coordinator", url, "--device-class", own, "--cache", CACHE),
        ],
        "env": [
            *environment(),
            from_secret("FEDNAS_TOKEN", names.child_name(search.metadata.name, own, uid), "token"),
        ],
        "resources": client_resources(_dump(device_class.resources)),
    }
    head = _head("apps/v1", "Deployment", search, uid, own, "client")
    account = names.child_name(search.metadata.name, "pods", uid)
    return {
        **head,
        "spec": {
            "replicas": device_class.pods,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": _selector(uid, "client", own)},
            "template": {
                "metadata": {"labels": head["metadata"]["labels"]},
                "spec": pod_spec(container, [], account, settings.image, grace=10),
            },
        },
    }


def _dump(resources: BaseModel | None) -> dict[str, Any] | None:
    return None if resources is None else resources.model_dump(exclude_none=True)
