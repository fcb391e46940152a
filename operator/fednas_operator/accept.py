"""Whether a search can be run in this cluster, and its spec with everything filled in.

Pure. The result is frozen in a ConfigMap at acceptance: later changes of the chart's defaults do
not touch a search under way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fednas.errors import SpecError
from fednas.spec import FederatedSearch, PodTemplate, load_spec

from .settings import Defaults

__all__ = ["Refused", "accept"]


class Refused(Exception):
    """Why a search cannot be run: the ``Accepted=False`` condition."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")


def accept(
    resource: Mapping[str, Any], defaults: Defaults, endpoints: Sequence[str] = ()
) -> FederatedSearch:
    """The resolved spec of a resource.

    Parameters
    ----------
    resource : mapping
        The FederatedSearch as the API server gives it.
    defaults : Defaults
        Fill ``spec.storage``, ``spec.tracking`` and the fields of pod templates where the file
        leaves them out.
    endpoints : sequence of str
        Servers that a search may name besides the defaults; see `Settings`. Empty: any.

    Raises
    ------
    Refused
        With the reason and the field that has to be mended.
    """
    meta = resource["metadata"]
    spec = dict(resource.get("spec") or {})
    if spec.get("storage") is None and defaults.storage is not None:
        spec["storage"] = defaults.storage
    if spec.get("tracking") is None and defaults.tracking is not None:
        spec["tracking"] = defaults.tracking
    try:
        search = load_spec(
            {
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
                "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
                "spec": spec,
            }
        )
    except SpecError as error:
        raise Refused("InvalidSpec", "; ".join(error.problems)) from error
    if search.spec.storage is None:
        raise Refused(
            "StorageMissing",
            "spec.storage: not given, and the chart has no defaults.storage; "
            "give endpoint, bucket and secretName in either",
        )
    tracking = search.spec.tracking
    if tracking is not None and (problem := tracking.problem_in_pod):
        raise Refused("LocalPath", f"spec.tracking.uri: {tracking.uri!r} {problem}")
    _allowed("spec.storage.endpoint", search.spec.storage.endpoint, defaults.storage, endpoints)
    if search.spec.tracking is not None:
        _allowed("spec.tracking.uri", search.spec.tracking.uri, defaults.tracking, endpoints)
    _reachable("spec.data.source", search.spec.data.source, ("digits",))
    if (weights := search.spec.model.initial.weights) is not None:
        _reachable("spec.model.initial.weights", weights, ())
    return _templated(search, defaults.template)


def _templated(search: FederatedSearch, default: PodTemplate) -> FederatedSearch:
    """With the default's fields in every pod template that leaves them out."""
    if not default.model_fields_set:
        return search

    def filled(template: PodTemplate | None) -> dict[str, PodTemplate]:
        return {"template": default if template is None else template.over(default)}

    coordinator = search.spec.coordinator
    changed = {
        "coordinator": coordinator.model_copy(update=filled(coordinator.template)),
        "device_classes": tuple(
            device_class.model_copy(update=filled(device_class.template))
            for device_class in search.spec.device_classes
        ),
    }
    return search.model_copy(update={"spec": search.spec.model_copy(update=changed)})


def _allowed(
    field: str, value: str, default: Mapping[str, Any] | None, endpoints: Sequence[str]
) -> None:
    if not endpoints or (default and value == default.get(field.rsplit(".", 1)[1])):
        return
    server = "/".join(value.split("/", 3)[:3]).lower()
    for allowed in endpoints:
        pattern = re.escape(allowed.lower().rstrip("/")).replace(r"\*", "[^/:]*")
        if re.fullmatch(pattern, server):
            return
    raise Refused(
        "EndpointNotAllowed",
        f"{field}: {value!r} is none of the servers that the administrator allows; "
        f"leave it out, or give one of {', '.join(endpoints)}",
    )


def _reachable(field: str, value: str, words: tuple[str, ...]) -> None:
    if value in words or value.startswith("s3://"):
        return
    right = " or ".join((*words, "s3://BUCKET/KEY"))
    raise Refused(
        "LocalPath",
        f"{field}: {value!r} is a path, and the pods see no files of yours; "
        f"upload it with `fednas push` and give {right}",
    )
