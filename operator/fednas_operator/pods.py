"""What the pods of both roles share: they pass Pod Security ``restricted``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fednas.spec import Authorities, PodTemplate

from .settings import Image

__all__ = ["CACHE", "CACHE_MIB", "environment", "from_secret", "pod_template", "probe", "trusting"]

CACHE = "/var/cache/fednas"
"""An emptyDir: it outlives a container's restart, not the pod."""
CACHE_MIB = 1024
"""What a client keeps there at most, but for what its tasks under way need."""
_IDS = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
"""Those of the images, where neither the search nor the chart says anything."""
_SCRATCH = (
    ("cache", CACHE, "2Gi"),
    ("tmp", "/tmp", "1Gi"),  # noqa: S108 - a path inside the pod
)
"""Beyond the size the kubelet evicts the pod: well above what the programs keep there."""


def pod_template(
    container: Mapping[str, Any],
    volumes: Sequence[tuple[Mapping[str, Any], str]],
    account: str,
    image: Image,
    template: PodTemplate | None,
    *,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    grace: int,
) -> dict[str, Any]:
    """A Deployment's pod template: the container, with what both roles share.

    Parameters
    ----------
    container : mapping
        Name, arguments, environment, ports, probes, resources.
    volumes : sequence of (volume, mount path)
        Mounted read-only; a writable cache and ``/tmp`` are added.
    account : str
        The ServiceAccount, which has no rights, and whose token is not mounted.
    image : Image
        The chart's.
    template : PodTemplate or None
        What the search or the chart adds; a search that an earlier operator froze has none.
    labels : mapping
        Ours, which no template can change.
    selector : mapping
        Labels of the pods that are spread evenly.
    grace : int
        Seconds between the request to end and the kill.
    """
    given = (template or PodTemplate()).model_dump(mode="json", by_alias=True, exclude_none=True)
    scratch = [
        ({"name": name, "emptyDir": {"sizeLimit": size}}, path) for name, path, size in _SCRATCH
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
            **given.get("securityContext", _IDS),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": _tolerations(given.get("tolerations", [])),
        "containers": [
            {
                **container,
                "image": given.get("image", image.name),
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
    pulling = [{"name": name} for name in image.pull_secrets]
    pulling += [one for one in given.get("imagePullSecrets", []) if one not in pulling]
    if pulling:
        spec["imagePullSecrets"] = pulling
    for field in ("nodeSelector", "affinity", "priorityClassName"):
        if field in given:
            spec[field] = given[field]
    if spread := given.get("topologySpreadConstraints"):
        those = {"labelSelector": {"matchLabels": dict(selector)}}
        spec["topologySpreadConstraints"] = [{**one, **those} for one in spread]
    metadata: dict[str, Any] = {"labels": {**given.get("labels", {}), **labels}}
    if "annotations" in given:
        metadata["annotations"] = given["annotations"]
    return {"metadata": metadata, "spec": spec}


def _tolerations(given: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Ours, by which a pod leaves a lost node after half a minute, where nothing else is said."""
    keys = {one.get("key") for one in given}
    ours = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        for key in ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
        if key not in keys
    ]
    return [*ours, *given]


def environment() -> list[dict[str, Any]]:
    """Environment variables of both roles."""
    return [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the root file system is read-only
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]


def from_secret(variable: str, secret: str, key: str, *, optional: bool = False) -> dict[str, Any]:
    """An environment variable out of a Secret; a missing one keeps the container from starting.

    An optional one does not, and is then unset.
    """
    reference = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def trusting(
    ca: Authorities | None, name: str, variable: str
) -> tuple[list[tuple[dict[str, Any], str]], list[dict[str, Any]]]:
    """Volumes and variables by which a program trusts the authorities of a server.

    Parameters
    ----------
    ca : Authorities or None
        None for the public ones, which the image has.
    name : str
        Of the volume.
    variable : str
        Of the environment; it holds the file's path.
    """
    if ca is None:
        return [], []
    items = {"items": [{"key": "ca.crt", "path": "ca.crt"}]}
    source = (
        {"configMap": {"name": ca.config_map, **items}}
        if ca.config_map is not None
        else {"secret": {"secretName": ca.secret, **items}}
    )
    folder = f"/etc/fednas-{name}"
    return [({"name": name, **source}, folder)], [{"name": variable, "value": f"{folder}/ca.crt"}]


def probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    """Ask a path of the port ``http`` every ``period`` seconds; give up after ``failures``."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
