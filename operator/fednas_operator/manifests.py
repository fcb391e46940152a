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
from .pods import CACHE, CACHE_MIB, environment, from_secret, pod_template, probe, trusting
from .policies import network_policies
from .resources import client_resources, coordinator_resources, max_workers
from .settings import Settings

__all__ = ["Manifest", "children", "frozen", "renewed", "repaired", "replicas"]

Manifest = dict[str, Any]
_TOKENS_FILE = "tokens.json"
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Environment variables of the coordinator, and keys of the Secret that the search names."""
_SESSION = "AWS_SESSION_TOKEN"
"""Likewise, where the credentials are temporary."""


def children(
    search: FederatedSearch, uid: str, settings: Settings, given: str
) -> Iterator[Manifest]:
    """Every child but ConfigMap and Secrets, in the order of creation: policies before pods.

    ``given`` is of `adopt.given`, noted beside the frozen spec.
    """
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
    yield _coordinator(search, uid, settings, given)
    url = f"http://{names.child_name(name, names.COORDINATOR, uid)}.{namespace}.svc:{names.PORT}"
    for device_class in search.spec.device_classes:
        yield _clients(search, uid, device_class, url, settings)


def frozen(search: FederatedSearch, uid: str, master_key: str, given: str) -> Iterator[Manifest]:
    """What is made once, when the search is accepted: the ConfigMap, then the Secrets.

    The coordinator mounts the ConfigMap: the resolved spec, which it journals, and hashes of all
    tokens, which give no token away. The Secret of each class holds its own token.
    """
    hashes = {"operator": names.token_hash(names.token(master_key, uid, "operator"))}
    secrets = []
    for device_class in search.spec.device_classes:
        role = names.class_role(device_class.name)
        token = names.token(master_key, uid, role)
        hashes[role] = names.token_hash(token)
        secrets.append(
            {
                **_head("v1", "Secret", search, uid, device_class.name, "client"),
                "type": "Opaque",
                "immutable": True,
                "stringData": {"token": token},
            }
        )
    head = _head("v1", "ConfigMap", search, uid, names.COORDINATOR)
    head["metadata"]["annotations"] = {names.GIVEN: given}
    yield {
        **head,
        "immutable": True,
        "data": {names.SPEC_FILE: _text(search), _TOKENS_FILE: _json(hashes)},
    }
    yield from secrets


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


def repaired(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Manifest | None:
    """A policy or Service as it should be, if somebody changed it.

    A policy as it was made: what the administrator changes later is for searches to come. Of a
    Service, what the cluster fills in is left.
    """
    spec: Mapping[str, Any]
    if wanted["kind"] == "NetworkPolicy":
        spec = _as_made(found) or wanted["spec"]
        right = _bare(spec) == _bare(found["spec"])
    elif wanted["kind"] == "Service":
        spec = found["spec"] | wanted["spec"]
        right = spec == found["spec"]
    else:
        return None
    return None if right else {**wanted, "metadata": found["metadata"], "spec": spec}


def renewed(wanted: Manifest, found: Mapping[str, Any], *, keep_image: bool) -> Manifest:
    """A Deployment or policy of a stopped search as its spec now wants it, still without pods.

    Parameters
    ----------
    wanted : dict
    found : mapping
        As it is.
    keep_image : bool
        Whether its image is the chart's of when it was made, and is to stay so.
    """
    meta = wanted["metadata"]
    annotations = (found["metadata"].get("annotations") or {}) | meta.get("annotations", {})
    version = found["metadata"]["resourceVersion"]
    new = {**wanted, "metadata": {**meta, "annotations": annotations, "resourceVersion": version}}
    if wanted["kind"] == "Deployment":
        new["spec"]["replicas"] = found["spec"].get("replicas") or 0
        if keep_image:
            (container,) = new["spec"]["template"]["spec"]["containers"]
            container["image"] = found["spec"]["template"]["spec"]["containers"][0]["image"]
    return new


def _as_made(policy: Mapping[str, Any]) -> Mapping[str, Any] | None:
    try:
        made = json.loads(policy["metadata"]["annotations"][names.MADE])
    except (KeyError, TypeError, ValueError):
        return None
    return made if isinstance(made, dict) else None


def _bare(value: Any) -> Any:
    """Without empty fields, which the API server leaves out."""
    if isinstance(value, Mapping):
        bare = {key: _bare(item) for key, item in value.items()}
        return {key: item for key, item in bare.items() if item not in (None, [], {})}
    return [_bare(item) for item in value] if isinstance(value, list | tuple) else value


def _text(search: FederatedSearch) -> str:
    return _json(search.to_dict())


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _selector(uid: str, role: str, device_class: str | None = None) -> dict[str, str]:
    chosen = {names.UID: uid, names.ROLE: role}
    if device_class is not None:
        chosen[names.CLASS] = device_class
    return chosen


def _service_account(search: FederatedSearch, uid: str) -> Manifest:
    head = _head("v1", "ServiceAccount", search, uid, "pods")
    return {**head, "automountServiceAccountToken": False}


def _coordinator(search: FederatedSearch, uid: str, settings: Settings, given: str) -> Manifest:
    spec = search.spec
    assert spec.storage is not None, "checked at acceptance"
    name = names.child_name(search.metadata.name, names.COORDINATOR, uid)
    resources = coordinator_resources(_dump(spec.coordinator.resources))
    store_ca, store_trust = trusting(spec.storage.ca, "store-ca", "SSL_CERT_FILE")
    tracking = spec.tracking
    login = None if tracking is None else tracking.secret_name
    tracking_ca, tracking_trust = trusting(
        tracking.ca if tracking else None, "tracking-ca", "REQUESTS_CA_BUNDLE"
    )
    container = {
        "name": "coordinator",
        "args": [
            *("coordinate", f"/etc/fednas/{names.SPEC_FILE}", "--search-id", uid),
            *("--listen", f"*:{names.PORT}", "--tokens", f"/etc/fednas/{_TOKENS_FILE}"),
            *("--credentials", "/etc/fednas-store", "--max-workers", str(max_workers(resources))),
            *(("--login", "/etc/fednas-login") if login is not None else ()),
        ],
        "env": [
            *environment(),
            *(from_secret(key, spec.storage.secret_name, key) for key in _CREDENTIALS),
            from_secret(_SESSION, spec.storage.secret_name, _SESSION, optional=True),
            *store_trust,
            *tracking_trust,
        ],
        "ports": [{"name": "http", "containerPort": names.PORT, "protocol": "TCP"}],
        "startupProbe": probe("/healthz", period=2, failures=150),
        "readinessProbe": probe("/readyz", period=2, failures=3),
        "livenessProbe": probe("/healthz", period=20, failures=6),
        "resources": resources,
    }
    # Files follow the Secret, variables do not; but only a variable's absence is told as a reason.
    store = {"secretName": spec.storage.secret_name, "optional": True}
    volumes: list[tuple[dict[str, Any], str]] = [
        ({"name": "spec", "configMap": {"name": name}}, "/etc/fednas"),
        ({"name": "store", "secret": store}, "/etc/fednas-store"),
        *store_ca,
        *tracking_ca,
    ]
    if login is not None:
        container["envFrom"] = [{"secretRef": {"name": login}}]
        mounted = {"secretName": login, "optional": True}
        volumes.append(({"name": "login", "secret": mounted}, "/etc/fednas-login"))
    head = _head("apps/v1", "Deployment", search, uid, names.COORDINATOR)
    head["metadata"]["annotations"] = {names.SPEC: _text(search), names.GIVEN: given}
    account = names.child_name(search.metadata.name, "pods", uid)
    return {
        **head,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector(uid, names.COORDINATOR)},
            "template": pod_template(
                *(container, volumes, account, settings.image, spec.coordinator.template),
                labels=head["metadata"]["labels"],
                selector=_selector(uid, names.COORDINATOR),
                grace=30,
            ),
        },
    }


def _clients(
    search: FederatedSearch, uid: str, device_class: DeviceClass, url: str, settings: Settings
) -> Manifest:
    own = device_class.name
    resources = client_resources(_dump(device_class.resources))
    assert search.spec.storage is not None, "checked at acceptance"
    volumes, trust = trusting(search.spec.storage.ca, "store-ca", "SSL_CERT_FILE")
    container = {
        "name": "client",
        "args": [
            *("client", "--coordinator", url, "--device-class", own),
            *("--cache", CACHE, "--cache-mib", str(CACHE_MIB)),
            *("--max-workers", str(max_workers(resources))),
        ],
        "env": [
            *environment(),
            from_secret("FEDNAS_TOKEN", names.child_name(search.metadata.name, own, uid), "token"),
            *trust,
        ],
        "resources": resources,
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
            "template": pod_template(
                *(container, volumes, account, settings.image, device_class.template),
                labels=head["metadata"]["labels"],
                selector=_selector(uid, "client", own),
                grace=10,
            ),
        },
    }


def _dump(resources: BaseModel) -> dict[str, Any]:
    return resources.model_dump(exclude_none=True)
