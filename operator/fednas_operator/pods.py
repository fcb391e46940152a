"""What the pods of both roles share: they pass Pod Security ``restricted``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .settings import Image

__all__ = ["CACHE", "environment", "from_secret", "pod_spec", "probe"]

CACHE = "/var/cache/fednas"
"""An emptyDir: it outlives a container's restart, not the pod."""


def pod_spec(
    container: Mapping[str, Any],
    volumes: Sequence[tuple[Mapping[str, Any], str]],
    account: str,
    image: Image,
    *,
    grace: int,
) -> dict[str, Any]:
    """A pod's spec: the container, with what both roles share.

    Parameters
    ----------
    container : mapping
        Name, arguments, environment, ports, probes, resources.
    volumes : sequence of (volume, mount path)
        Mounted read-only; a writable cache and ``/tmp`` are added.
    account : str
        The ServiceAccount, which has no rights, and whose token is not mounted.
    grace : int
        Seconds between the request to end and the kill.
    """
    scratch = [
        ({"name": "cache", "emptyDir": {}}, CACHE),
        ({"name": "tmp", "emptyDir": {}}, "/tmp"),  # noqa: S108 - a path inside the pod
    ]
    mounts = [
        {"name": volume["name"], "mountPath": path}
        | ({} if "emptyDir" in volume else {"readOnly": True})
        for volume, path in (*volumes, *scratch)
    ]
    spec: dict[str, Any] = {
        "serviceAccountName": account,
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
                "image": image.name,
                "imagePullPolicy": image.pull_policy,
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
    if image.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in image.pull_secrets]
    return spec


def environment() -> list[dict[str, Any]]:
    """Environment variables of both roles."""
    return [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the root file system is read-only
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]


def from_secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    """An environment variable out of a Secret; a missing one keeps the container from starting."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    """Ask a path of the port ``http`` every ``period`` seconds; give up after ``failures``."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
