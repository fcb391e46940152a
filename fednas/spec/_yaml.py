"""YAML as kubectl reads it, with the lines of mistakes.

PyYAML alone takes the last of two equal keys, ``1e-3`` for text and ``2024-01-01`` for a date.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from fednas.errors import SpecError

__all__ = ["read_yaml"]

MAX_BYTES = 1 << 20


class _Loader(yaml.SafeLoader):
    """SafeLoader with numbers and booleans of YAML 1.2, no dates, and no duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise SpecError(
                    [f"line {line}: {key.value} is given twice; first in line {lines[key.value]}"]
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first)
    )


_resolve("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_resolve("int", "[-+]?(?:0|[1-9][0-9]*)", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_resolve("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.")
_resolve("merge", "<<", "<")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def _to_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:float", _to_float)


def read_yaml(text: str) -> Any:
    """The single document in a text.

    Raises
    ------
    SpecError
        Not YAML, too long, a key given twice, no document or several; with the line.
    """
    if len(text) > MAX_BYTES:
        raise SpecError([f"{len(text)} characters; must be at most {MAX_BYTES}"])
    try:
        documents = [d for d in yaml.load_all(text, Loader=_Loader) if d is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise SpecError([f"{where}not YAML: {what}"]) from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError([f"not YAML: {error}"]) from None
    except RecursionError:
        raise SpecError(["not a FederatedSearch: nested too deeply"]) from None
    if not documents:
        raise SpecError(["empty; must be a FederatedSearch"])
    if len(documents) > 1:
        raise SpecError([f"{len(documents)} documents; must be one FederatedSearch"])
    return documents[0]
