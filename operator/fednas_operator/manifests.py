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
from .policies import network_policies
from .resources import client_resources, coordinator_resources
from .settings import Settings

__all__ = ["SPEC_FILE", "Manifest", "children", "config_map", "replicas", "secrets"]

Manifest = dict[str, Any]
SPEC_FILE = "search.json"
_CACHE = "/var/cache/fednas"


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
            *_environment(),
            *(_from_secret(key, spec.storage.secret_name, key) for key in _CREDENTIALS),
        ],
        "ports": [{"name": "http", "containerPort": names.PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", period=2, failures=150),
        "readinessProbe": _probe("/readyz", period=2, failures=3),
        "livenessProbe": _probe("/healthz", period=20, failures=6),
        "resources": coordinator_resources(_dump(given)),
    }
    volumes = [
        ({"name": "spec", "configMap": {"name": name}}, "/etc/fednas"),
        ({"name": "tokens", "secret": {"secretName": name}}, "/etc/fednas-tokens"),
    ]
    pod = _pod(
        search,
        uid,
        container,
        volumes,
        settings,
        names.labels(search.metadata.name, uid, names.COORDINATOR),
        grace=30,
    )
    return {
        **_head("apps/v1", "Deployment", search, uid, names.COORDINATOR),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector(uid, names.COORDINATOR)},
            "template": pod,
        },
    }


def _clients(
    search: FederatedSearch, uid: str, device_class: DeviceClass, url: str, settings: Settings
) -> Manifest:
    own = device_class.name
    container = {
        "name": "client",
        "args": [
            *("client", "--coordinator", url, "--device-class", own, "--cache", _CACHE),
        ],
        "env": [
            *_environment(),
            _from_secret("FEDNAS_TOKEN", names.child_name(search.metadata.name, own, uid), "token"),
        ],
        "resources": client_resources(_dump(device_class.resources)),
    }
    pod = _pod(
        search,
        uid,
        container,
        [],
        settings,
        names.labels(search.metadata.name, uid, "client", own),
        grace=10,
    )
    return {
        **_head("apps/v1", "Deployment", search, uid, own, "client"),
        "spec": {
            "replicas": device_class.pods,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": _selector(uid, "client", own)},
            "template": pod,
        },
    }


def _pod(
    search: FederatedSearch,
    uid: str,
    container: Manifest,
    volumes: list[tuple[Manifest, str]],
    settings: Settings,
    labels: dict[str, str],
    *,
    grace: int,
) -> Manifest:
    """A pod template: the container, with what both roles share."""
    scratch = [
        ({"name": "cache", "emptyDir": {}}, _CACHE),
        ({"name": "tmp", "emptyDir": {}}, "/tmp"),  # noqa: S108 - a path inside the pod
    ]
    mounts = [
        {"name": volume["name"], "mountPath": path}
        | ({} if "emptyDir" in volume else {"readOnly": True})
        for volume, path in (*volumes, *scratch)
    ]
    spec: Manifest = {
        "serviceAccountName": names.child_name(search.metadata.name, "pods", uid),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{state}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 30,
            }
            for state in ("unreachable", "not-ready")
        ],
        "containers": [
            {
                **container,
                "image": settings.image.name,
                "imagePullPolicy": settings.image.pull_policy,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": mounts,
            }
        ],
        "volumes": [volume for volume, _ in (*volumes, *scratch)],
    }
    if settings.image.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image.pull_secrets]
    return {"metadata": {"labels": labels}, "spec": spec}


_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def _environment() -> list[Manifest]:
    return [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the root file system is read-only
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]


def _dump(resources: BaseModel | None) -> dict[str, Any] | None:
    return None if resources is None else resources.model_dump(exclude_none=True)


def _from_secret(variable: str, secret: str, key: str) -> Manifest:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
