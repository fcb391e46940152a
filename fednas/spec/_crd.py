"""The CustomResourceDefinition, generated from the models.

pydantic's JSON Schema is not a legal schema for a CRD: a structural schema has no references, no
nulls and no ``additionalProperties: false`` (unknown fields are pruned, and kubectl's strict
validation refuses them), its exclusive bounds are the booleans of OpenAPI 3.0, and its unions and
cross-field rules are CEL.
See https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from fednas.spec._base import fields_by_alias
from fednas.spec._fleet import DeviceClass
from fednas.spec._search import API_VERSION, KIND, FederatedSearch, Metadata, SearchSpec
from fednas.spec._status import SearchStatus

__all__ = ["crd", "crd_yaml", "structural"]

GROUP, VERSION = API_VERSION.split("/")
PLURAL = "federatedsearches"

_COLUMNS = (
    ("Phase", "string", ".status.phase"),
    ("Reason", "string", ".status.display.reason"),
    ("Iteration", "string", ".status.display.iteration"),
    ("Best", "string", ".status.best.accuracy"),
    ("Target", "string", ".status.display.target"),
    ("Share", "string", ".status.display.share"),
    ("Clients", "string", ".status.display.clients"),
    ("Cheaper", "string", ".status.display.cheaper"),
    ("Age", "date", ".metadata.creationTimestamp"),
)

_KEPT = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "anyOf",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-kubernetes-validations",
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition of FederatedSearch as JSON values."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["fsearch"],
                "categories": ["fednas"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def crd_yaml() -> str:
    """`crd` as YAML, as committed under ``manifests/crd``."""
    body = yaml.safe_dump(crd(), sort_keys=False, width=100)
    return f"# Generated from fednas.spec by `python -m fednas.spec`; do not edit.\n{body}"


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema for the API server.

    Parameters
    ----------
    schema : mapping
        As `pydantic.BaseModel.model_json_schema` gives it.

    Raises
    ------
    ValueError
        A keyword that has no counterpart, with its path.
    """
    return _structural(schema, schema.get("$defs", {}), "")


def _structural(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    merged = _merged(schema, defs, path)
    for key, value in merged.items():
        if key in ("title", "$defs") or (key == "default" and value is None):
            continue
        if key == "additionalProperties" and value is False:
            continue
        if key == "properties" and not value:
            continue  # nor does the API server keep it: GitOps tools would see a change for ever
        if key == "default" and isinstance(value, float) and value.is_integer():
            found[key] = int(value)  # likewise
        elif key == "const":
            found["enum"] = [value]
        elif key in ("exclusiveMinimum", "exclusiveMaximum"):
            found[key.removeprefix("exclusive").lower()] = value
            found[key] = True
        elif key == "properties":
            found[key] = {k: _structural(v, defs, f"{path}.{k}") for k, v in value.items()}
        elif key == "items":
            found[key] = _structural(value, defs, f"{path}[]")
        elif key == "additionalProperties" and isinstance(value, Mapping):
            found[key] = _structural(value, defs, f"{path}{{}}")
        elif key == "additionalProperties":  # of anything: a structural schema names its type
            raise ValueError(f"{path or '.'}: a CRD has no place for the keyword {key}")
        elif key in _KEPT and (key != "anyOf" or "x-kubernetes-int-or-string" in merged):
            found[key] = value
        else:
            raise ValueError(f"{path or '.'}: a CRD has no place for the keyword {key}")
    low = found.get("minimum")
    if found.get("type") == "number" and low is not None and low % 1:
        # The API server compares a number without a fraction, 0, with the bound's whole part alone.
        rule = {"rule": f"self >= {low}", "message": f"must be at least {low}"}
        found["x-kubernetes-validations"] = [*found.get("x-kubernetes-validations", ()), rule]
    if "default" in found:
        found["default"] = _without_defaults(found["default"], found)
    return {key: found[key] for key in _KEPT if key in found}


def _merged(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> dict[str, Any]:
    """With the reference put in place, and ``X or null`` made ``X``."""
    merged = dict(schema)
    if "anyOf" in merged and "x-kubernetes-int-or-string" not in merged:
        members = [m for m in merged.pop("anyOf") if m != {"type": "null"}]
        if len(members) != 1:
            raise ValueError(f"{path or '.'}: a CRD has no place for anyOf of several types")
        merged = {**members[0], **merged}
        return _merged(merged, defs, path)
    if "$ref" in merged:
        target = defs[merged.pop("$ref").rsplit("/", 1)[1]]
        merged = _merged({**target, **merged}, defs, path)
    return merged


def _without_defaults(default: Any, schema: Mapping[str, Any]) -> Any:
    """A default object without what its own fields' defaults fill in anyway."""
    if not isinstance(default, dict):
        return default
    kept = {}
    for key, value in default.items():
        inner = schema["properties"][key]
        if value is None:
            continue
        value = _without_defaults(value, inner)
        if "default" not in inner or inner["default"] != value:
            kept[key] = value
    return kept


def _root() -> dict[str, Any]:
    name = fields_by_alias(Metadata)["name"][1]
    name_schema = Metadata.model_json_schema()["properties"]["name"]
    assert name.is_required()
    return {
        "description": (FederatedSearch.__doc__ or "").strip(),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{API_VERSION}."},
            "kind": {"type": "string", "description": f"{KIND}."},
            "metadata": {
                "type": "object",
                "properties": {
                    "name": {
                        key: name_schema[key]
                        for key in ("type", "pattern", "minLength", "maxLength")
                    }
                },
            },
            "spec": structural(SearchSpec.model_json_schema()),
            "status": structural(SearchStatus.model_json_schema()),
        },
        "x-kubernetes-validations": _immutability(),
    }


_OPEN = {
    "suspend",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "acceptNewNumerics",
    "deviceClasses",
}
_OPEN_IN_CLASS = {"name", "pods"}
_SUSPENDED = {"storage", "tracking", "coordinator"}
_SUSPENDED_IN_CLASS = {"resources", "template"}
"""What may change while the search is suspended: it has no say in the result."""

_WAITING = "!has(oldSelf.status) || !has(oldSelf.status.startTime)"
_STOPPED = (
    "oldSelf.spec.suspend && has(oldSelf.status.conditions) && "
    "oldSelf.status.conditions.exists(c, c.type == 'Suspended' && c.status == 'True')"
)


def _immutability() -> list[dict[str, str]]:
    """Once the search has started its spec is fixed, but for pauses, limits, consent and pods."""
    started = "once the search has started; delete the search and create it anew"
    paused = "only while the search is suspended; suspend it first, and wait for that condition"
    classes = {
        field: _same("a", "b", field, info)
        for field, (_, info) in fields_by_alias(DeviceClass).items()
        if field not in _OPEN_IN_CLASS
    }
    fixed = [same for field, same in classes.items() if field not in _SUSPENDED_IN_CLASS]
    pods = [same for field, same in classes.items() if field in _SUSPENDED_IN_CLASS]
    rules = []
    for field, (_, info) in fields_by_alias(SearchSpec).items():
        same, path = _same("self.spec", "oldSelf.spec", field, info), f".spec.{field}"
        if field in _SUSPENDED:
            rules.append(_rule(f"({_STOPPED}) || ({same})", f"can change {paused}", path))
        elif field not in _OPEN:
            rules.append(_rule(f"({same})", f"cannot change {started}", path))
    of_classes = ".spec.deviceClasses"
    return [
        *rules,
        _rule(
            f"({_STOPPED}) || ({_classes_agree(pods)})",
            f"resources and template can change {paused}",
            of_classes,
        ),
        _rule(
            "(size(self.spec.deviceClasses) == size(oldSelf.spec.deviceClasses) && "
            f"{_classes_agree(fixed)})",
            f"nothing but pods, resources and template can change {started}",
            of_classes,
        ),
    ]


def _rule(allowed: str, message: str, path: str) -> dict[str, str]:
    return {"rule": f"{_WAITING} || {allowed}", "message": message, "fieldPath": path}


def _classes_agree(same: Sequence[str]) -> str:
    """CEL for "every class is as it was"; that none is new is another rule's."""
    return (
        "self.spec.deviceClasses.all(a, oldSelf.spec.deviceClasses.exists(b, "
        f"a.name == b.name && {' && '.join(same)}))"
    )


def _same(new: str, old: str, field: str, info: FieldInfo) -> str:
    """CEL for "both agree in a field"; optional types would exceed the cost limit."""
    equal = f"{new}.{field} == {old}.{field}"
    if info.is_required() or info.get_default(call_default_factory=True) is not None:
        return equal
    return f"has({new}.{field}) == has({old}.{field}) && (!has({new}.{field}) || {equal})"
