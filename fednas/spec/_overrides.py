"""``--set strategy.netAdapt.maxIterations=3``: one field of the spec, from the command line."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from fednas.errors import SpecError
from fednas.spec._base import OneOf, fields_by_alias, model_of
from fednas.spec._search import SearchSpec
from fednas.spec._yaml import read_yaml

__all__ = ["apply_overrides"]


def apply_overrides(document: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a resource with fields of its spec set.

    Parameters
    ----------
    overrides : sequence of str
        ``path=value``; the path is relative to ``spec``, a device class is named or numbered
        (``deviceClasses.phone.pods=3``), the value is YAML. Setting one member of a union takes
        the others away.
    """
    result = copy.deepcopy(dict(document))
    if overrides and not isinstance(result.get("spec"), dict):
        result["spec"] = {}
    problems: list[str] = []
    for override in overrides:
        path, equals, text = override.partition("=")
        parts = path.strip().removeprefix("spec.").split(".")
        if not equals or not all(parts):
            problems.append(f"--set {override}: must be path=value, such as training.epochs=2")
            continue
        try:
            value = read_yaml(text) if text.strip() else None
            _set(result["spec"], SearchSpec, parts, value)
        except SpecError as error:
            problems += [f"--set {override}: {line}" for line in error.problems]
    if problems:
        raise SpecError(problems)
    return result


def _set(
    target: dict[str, Any], model: type[BaseModel] | None, parts: list[str], value: Any
) -> None:
    """Walks the document and the schema together; what the schema lacks is refused later."""
    name, rest = parts[0], parts[1:]
    fields = fields_by_alias(model) if model is not None else {}
    if model is not None and issubclass(model, OneOf) and name in fields:
        for other in fields:
            if other != name:
                target.pop(other, None)
    if not rest:
        target[name] = value
        return
    inner = model_of(fields[name][1].annotation) if name in fields else None
    child = target.get(name)
    if isinstance(child, list):
        entry = _entry(child, name, rest[0])
        if len(rest) == 1:
            child[child.index(entry)] = value
        else:
            _set(entry, inner, rest[1:], value)
        return
    if not isinstance(child, dict):
        child = target[name] = {}
    _set(child, inner, rest, value)


def _entry(entries: list[Any], name: str, key: str) -> dict[str, Any]:
    """The entry of a list with that name or number."""
    mappings = [entry for entry in entries if isinstance(entry, dict)]
    for i, entry in enumerate(mappings):
        if entry.get("name") == key or str(i) == key:
            return entry
    names = ", ".join(str(entry.get("name")) for entry in mappings)
    raise SpecError([f"no {name} {key}; there are: {names}"])
