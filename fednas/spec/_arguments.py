"""Arguments of somebody else's class: values of JSON, whatever their names.

A CRD bounds their number alone; what is inside is checked here, where the search is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = ["Arguments"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST = 64
_LEVELS = 8


def _checked(args: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the API server, the journal and MLflow keep as they are."""
    if wrong := _wrong(args, "", _LEVELS):
        raise PydanticCustomError("rule", "{message}", {"message": wrong})
    return args


def _wrong(value: Any, path: str, levels: int) -> str | None:
    """What is wrong at a path or below, if anything."""
    inner: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        inner = value
        for name in value:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                where = f" in {path}" if path else ""
                return f"names must be of 1 to 64 letters, digits, _, - and .; not {name!r}{where}"
    elif isinstance(value, list | tuple):
        inner = dict(enumerate(value))
    elif isinstance(value, float) and value - value != 0:
        return f"must hold finite numbers; {path} is {value}"
    elif not (value is None or isinstance(value, bool | int | float | str)):
        return f"must hold values of JSON; {path} is of type {type(value).__name__}"
    if inner and not levels:
        return f"must have at most {_LEVELS} levels; {path} is deeper"
    below = (
        _wrong(entry, f"{path}.{name}" if path else str(name), levels - 1)
        for name, entry in inner.items()
    )
    return next((one for one in below if one), None)


Arguments = Annotated[
    dict[str, Any],
    AfterValidator(_checked),
    WithJsonSchema(
        {"type": "object", "maxProperties": _MOST, "x-kubernetes-preserve-unknown-fields": True}
    ),
]
"""Name -> value of JSON."""
