"""Who may talk to whom, as NetworkPolicies: made before any pod.

====================  ===========================================================
pods of one search    none but what follows, in or out
operator              -> coordinator, for its status, and to pass on consent
whoever may scrape    -> coordinator, for its metrics; the rest asks for a token
clients               -> coordinator, store, DNS
coordinator           -> store, MLflow, DNS
====================  ===========================================================

No client reaches another, nor MLflow, nor the Kubernetes API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fednas.spec import FederatedSearch

from . import names
from .settings import Egress, Settings

__all__ = ["network_policies"]


def network_policies(
    search: FederatedSearch, uid: str, settings: Settings
) -> Iterator[dict[str, Any]]:
    """The three policies of a search: deny all, then what coordinator and clients may."""
    assert search.spec.storage is not None, "checked at acceptance"
    store = _towards(
        str(search.spec.storage.endpoint),
        (settings.defaults.storage or {}).get("endpoint"),
        settings.store_egress,
    )
    coordinator = {"podSelector": {"matchLabels": _pods(uid, names.COORDINATOR)}}
    clients = {"podSelector": {"matchLabels": _pods(uid, "client")}}
    port = {"protocol": "TCP", "port": names.PORT}
    yield _policy(search, uid, "deny", {names.UID: uid}, [], [])
    yield _policy(
        search,
        uid,
        names.COORDINATOR,
        _pods(uid, names.COORDINATOR),
        [{"from": [_operator(settings), clients, *settings.metrics_ingress], "ports": [port]}],
        [_dns(settings), store, *_tracking(search, settings)],
    )
    yield _policy(
        search,
        uid,
        "clients",
        _pods(uid, "client"),
        [],
        [_dns(settings), store, {"to": [coordinator], "ports": [port]}],
    )


_ANYWHERE: tuple[dict[str, Any], ...] = (
    {"namespaceSelector": {}},  # of pods: to some network plug-ins they are no addresses
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::254/128"]}},
)
"""Not where clouds serve a node's credentials, whatever name leads there."""


def _pods(uid: str, role: str) -> dict[str, str]:
    return {names.UID: uid, names.ROLE: role}


def _dns(settings: Settings) -> dict[str, Any]:
    return _rule(settings.dns_egress, 53, ("UDP", "TCP"))


def _operator(settings: Settings) -> dict[str, Any]:
    return {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": settings.operator.namespace}
        },
        "podSelector": {"matchLabels": dict(settings.operator.labels)},
    }


def _tracking(search: FederatedSearch, settings: Settings) -> list[dict[str, Any]]:
    if search.spec.tracking is None:
        return []
    default = (settings.defaults.tracking or {}).get("uri")
    return [_towards(str(search.spec.tracking.uri), default, settings.tracking_egress)]


def _towards(url: str, default: str | None, egress: Egress) -> dict[str, Any]:
    """An egress rule towards a service.

    The administrator knows which pods or addresses lie behind the default service alone; towards
    any other, every address but a link-local one is allowed on the port of its URL.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if url != default:
        egress = Egress()
    if not egress.peers:
        egress = Egress(peers=_ANYWHERE, ports=egress.ports)
    return _rule(egress, port, ("TCP",))


def _rule(egress: Egress, port: int, protocols: tuple[str, ...]) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "ports": [
            {"protocol": protocol, "port": number}
            for number in egress.ports or (port,)
            for protocol in protocols
        ]
    }
    if egress.peers:
        rule["to"] = [dict(peer) for peer in egress.peers]
    return rule


def _policy(
    search: FederatedSearch,
    uid: str,
    part: str,
    pods: dict[str, str],
    ingress: list[dict[str, Any]],
    egress: list[dict[str, Any]],
) -> dict[str, Any]:
    name = search.metadata.name
    spec = {
        "podSelector": {"matchLabels": pods},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.child_name(name, part, uid),
            "namespace": search.metadata.namespace,
            "labels": names.labels(name, uid, "network"),
            "annotations": {names.MADE: json.dumps(spec, sort_keys=True)},
            "ownerReferences": [names.owner(name, uid)],
        },
        "spec": spec,
    }
