"""Validation errors in words: the field's path, what it got, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from fednas.spec._base import fields_by_alias, model_of
from fednas.spec._fleet import PATTERNS

__all__ = ["path_of", "words"]

_WANTED = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text; quote it",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
}


def path_of(loc: Sequence[str | int]) -> str:
    """A location in words: ``spec.deviceClasses[0].name``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def words(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per problem, in the order of the file's schema, each once."""
    entries = [entry for entry in error.errors(include_url=False) if not _is_echo(entry)]
    lines = [_printable(_line(entry, model)) for entry in entries]
    return list(dict.fromkeys(lines))


def _printable(line: str) -> str:
    """On one line, whatever the file holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _is_echo(entry: Any) -> bool:
    """A list whose entries are wrong counts as too short for pydantic; that is no news."""
    return bool(entry["type"] == "too_short" and len(entry["input"]) >= entry["ctx"]["min_length"])


def _line(entry: Any, model: type[BaseModel]) -> str:
    loc, kind, context = entry["loc"], entry["type"], entry.get("ctx", {})
    path = path_of(loc)
    if kind == "extra_forbidden":
        return f"{path}: unknown field; {_nearest(str(loc[-1]), _known(model, loc[:-1]))}"
    if kind == "missing":
        field = _field(model, loc)
        return f"{path}: missing; must be given: {field.description if field else ''}"
    return f"{path}: {_got(entry['input'])}; {_wanted(kind, context, entry)}"


def _wanted(kind: str, context: Mapping[str, Any], entry: Any) -> str:
    if kind == "rule":
        return str(context["message"])
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        text = "must be " + (choices[0] if len(choices) == 1 else "one of " + ", ".join(choices))
        near = difflib.get_close_matches(str(entry["input"]), choices, 1)
        return text + (f"; did you mean {near[0]}?" if near and len(choices) > 1 else "")
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return f"must {PATTERNS.get(pattern, f'match {pattern}')}"
    if kind in _WANTED:
        numbers = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
        return _WANTED[kind].format(**numbers)
    return str(entry["msg"])


def _got(value: Any) -> str:
    """What was written, never longer than a line."""
    if isinstance(value, bool):
        return f"got {str(value).lower()}"
    if isinstance(value, str):
        return f"got {value!r}" if len(value) <= 60 else f"got {value[:60]!r}... ({len(value)})"
    if isinstance(value, int | float):
        return f"got {value:.15g}" if isinstance(value, float) else f"got {str(value)[:40]}"
    if value is None:
        return "got null"
    if isinstance(value, list | tuple):
        if len(value) <= 4 and all(isinstance(v, str) and len(v) <= 32 for v in value):
            return f"got {', '.join(value)}" if value else "got none"
        return f"got a list of {len(value)}"
    return "got a mapping" if isinstance(value, Mapping | BaseModel) else "got something else"


def _nearest(name: str, known: Sequence[str]) -> str:
    lowered = {k.lower().replace("_", ""): k for k in known}
    near = difflib.get_close_matches(name.lower().replace("_", ""), list(lowered), 1, 0.6)
    if near:
        return f"did you mean {lowered[near[0]]}?"
    return f"known here: {', '.join(known)}" if known else "no field is known here"


def _known(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    for part in loc:
        if isinstance(part, str):
            found = model_of(fields_by_alias(model)[part][1].annotation)
            assert found is not None, loc
            model = found
    return list(fields_by_alias(model))


def _field(model: type[BaseModel], loc: Sequence[str | int]) -> Any:
    names = [part for part in loc if isinstance(part, str)]
    for part in names[:-1]:
        found = model_of(fields_by_alias(model)[part][1].annotation)
        assert found is not None, loc
        model = found
    return fields_by_alias(model)[names[-1]][1]
