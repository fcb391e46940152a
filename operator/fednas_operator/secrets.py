"""Secrets that are made once, in the cluster: so that no rendered manifest holds a random value.

A tool that renders the chart anew at each sync would else replace them, and cut running searches
off. Whoever is first makes a Secret; nobody ever overwrites one.
"""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from .cluster import ApiError, Cluster

__all__ = ["master_key", "own_namespace", "store_credentials"]

_KEY = "key"
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_namespace(file: Path = _NAMESPACE) -> str:
    """Where this pod runs.

    Raises
    ------
    ValueError
        Outside a pod.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ValueError(
            "--master-key-secret, --store-secret: only in a pod; else --master-key FILE"
        ) from None


async def master_key(cluster: Cluster, namespace: str, name: str) -> str:
    """The master key of a Secret, which is made if it is missing.

    Raises
    ------
    ValueError
        The Secret has no ``key``: another is not made up, since searches may run by the former.
    ApiError
        The API server refuses, or does not answer.
    """
    found = await cluster.get("Secret", namespace, name)
    if found is None:
        await _create(cluster, namespace, name, {_KEY: secrets.token_urlsafe(36)})
        found = await cluster.get("Secret", namespace, name)
    value = ((found or {}).get("data") or {}).get(_KEY)
    if not value:
        raise ValueError(
            f"Secret {namespace}/{name} has no {_KEY!r}: put the master key back, or, "
            "where no search runs, delete the Secret"
        )
    return base64.b64decode(value).decode("utf-8").strip()


async def store_credentials(cluster: Cluster, namespace: str, name: str, user: str) -> None:
    """Make the credentials of the chart's own store, unless there are some.

    Raises
    ------
    ApiError
        The API server refuses, or does not answer.
    """
    values = {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(24)}
    await _create(cluster, namespace, name, values)


async def _create(cluster: Cluster, namespace: str, name: str, values: dict[str, str]) -> None:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/name": "fednas"},
    }
    try:
        await cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "Opaque",
                "data": {
                    key: base64.b64encode(value.encode()).decode() for key, value in values.items()
                },
            }
        )
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
