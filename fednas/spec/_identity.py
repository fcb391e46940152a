"""What of a spec determines the result of its search, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from fednas.spec._search import FederatedSearch

__all__ = ["differences", "identity", "identity_digest"]


_FREE = (
    "suspend",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "storage",
    "tracking",
    "coordinator",
    "acceptNewNumerics",
)


def identity(search: FederatedSearch) -> dict[str, Any]:
    """The spec without what may change and still give the same ladder.

    Left out: ``suspend``, ``activeDeadlineSeconds``, ``ttlSecondsAfterFinished``, ``storage``,
    ``tracking``, ``coordinator``, ``acceptNewNumerics`` (the search has the numerics themselves on
    record), ``privacy`` where there is none, the round's deadline, and pods, resources and pod
    templates of device classes.
    """
    spec: dict[str, Any] = search.to_dict()["spec"]
    for name in _FREE:
        spec.pop(name, None)
    if "none" in spec["privacy"]:  # as in searches that were begun before there was any
        spec.pop("privacy")
    spec["federation"].pop("roundTimeoutSeconds")
    for device_class in spec["deviceClasses"]:
        device_class.pop("pods")
        device_class.pop("resources")
        device_class.pop("template", None)
    return spec


def identity_digest(search: FederatedSearch) -> str:
    """The sha256 of the identity's canonical JSON, in lower-case hex; places left out."""
    spec = identity(search)
    spec["data"].pop("source")
    spec["model"]["initial"].pop("weights", None)
    for device_class in spec["deviceClasses"]:
        device_class.pop("latencyTable", None)
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_PLACES = re.compile(
    r"spec\.(data\.source|model\.initial\.weights|deviceClasses\[[^]]*\]\.latencyTable)"
)
"""Where something lies may change: what lies there is compared by its contents, or was kept."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line per field that differs: ``spec.training.epochs: 1 -> 2``.

    Paths of data, start weights and latency tables are not compared, unless only one has them.
    """
    before, after = _flat(old, "spec"), _flat(new, "spec")
    return [
        f"{path}: {_show(before.get(path))} -> {_show(after.get(path))}"
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
        and not (_PLACES.fullmatch(path) and path in before and path in after)
    ]


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Path -> value of every leaf; an empty mapping is a leaf, named entries go by name."""
    if isinstance(value, Mapping) and value:
        inner = [(f"{path}.{key}", entry) for key, entry in value.items()]
    elif isinstance(value, list) and value:
        inner = [
            (f"{path}[{entry.get('name', i) if isinstance(entry, Mapping) else i}]", entry)
            for i, entry in enumerate(value)
        ]
    else:
        return {path: value}
    flat: dict[str, Any] = {}
    for inner_path, entry in inner:
        flat.update(_flat(entry, inner_path))
    return flat


def _show(value: Any) -> str:
    if value is None:
        return "unset"
    if value == {}:
        return "set"
    return f"{value:g}" if isinstance(value, float) else str(value)
