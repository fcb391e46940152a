"""From a file, a text or a mapping to a FederatedSearch that can be run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fednas.errors import SpecError
from fednas.spec._base import Model
from fednas.spec._overrides import apply_overrides
from fednas.spec._problems import words
from fednas.spec._search import API_VERSION, KIND, FederatedSearch
from fednas.spec._yaml import MAX_BYTES, read_yaml

__all__ = ["load_spec", "settings_of"]

M = TypeVar("M", bound=Model)


def load_spec(
    source: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = ()
) -> FederatedSearch:
    """Read a FederatedSearch and check it.

    Parameters
    ----------
    source : path, str or mapping
        A file; its YAML or JSON text (any ``str`` with a line break or a ``{``); or the parsed
        resource. A ``status`` is left out.
    overrides : sequence of str
        ``strategy.netAdapt.maxIterations=3``: fields of ``spec`` to set first.

    Raises
    ------
    SpecError
        With every problem at once, one line per field:
        ``spec.target.macs.share: got 1.5; must be less than 1``.
    """
    document = source if isinstance(source, Mapping) else _read(source)
    if not isinstance(document, Mapping):
        raise SpecError(["not a FederatedSearch: must be a mapping with apiVersion, kind, spec"])
    wrong = [
        f"{key}: {'missing' if value is None else f'got {str(value)[:60]!r}'}; must be {wanted}"
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND))
        if (value := document.get(key)) != wanted
    ]
    if wrong:
        raise SpecError(wrong)
    document = apply_overrides(document, overrides)
    document.pop("status", None)
    try:
        return FederatedSearch.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(words(error, FederatedSearch)) from None


def settings_of(model: type[M], values: Mapping[str, Any]) -> M:
    """Settings of a kind that the schema knows, from values in camelCase.

    A strategy of one's own has them so from its arguments: ``settings_of(Choosing, args)``.

    Raises
    ------
    SpecError
        With every problem, its path relative to the settings.
    """
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(words(error, model)) from None


def _read(source: str | os.PathLike[str]) -> Any:
    if isinstance(source, str) and ("\n" in source or "{" in source):
        return read_yaml(source)
    path = Path(source)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except FileNotFoundError:
        raise SpecError([f"{path}: no such file"]) from None
    except UnicodeDecodeError:
        raise SpecError([f"{path}: not a text file in UTF-8"]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError([f"{path}: cannot be read: {reason}"]) from None
    try:
        return read_yaml(text)
    except SpecError as error:
        raise SpecError([f"{path}: {line}" for line in error.problems]) from None
