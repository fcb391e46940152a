"""YAML as kubectl reads it, with the lines of mistakes.

PyYAML parses; the values are built here. Its own constructors take the last of two equal keys,
``1e-3`` for text and ``2024-01-01`` for a date, the last of two merged mappings, and fail with
whatever Python raises on ``!!bool x``. Where kubectl takes another value than YAML would (an octal
``017``; a key that is written before a ``<<`` which has it too), the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from fednas.errors import SpecError

__all__ = ["read_yaml"]

MAX_BYTES = 1 << 20
_MAX_NODES = 100_000
_MAX_DEPTH = 100
_MAX_DIGITS = 400  # more than any float; Python itself reads no more than 4300

_TAG = "tag:yaml.org,2002:"
_MERGE, _MAP, _SEQ = f"{_TAG}merge", f"{_TAG}map", f"{_TAG}seq"


def _to_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


# By YAML 1.2: first characters, pattern, and what becomes of the text.
_SCALARS: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
    ("bool", "tTfF", "true|True|TRUE|false|False|FALSE", lambda text: text[0] in "tT"),
    ("int", "-+0123456789", "[-+]?(?:0|[1-9][0-9]*)", int),
    (
        "float",
        "-+.0123456789",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        _to_float,
    ),
    ("null", "~nN", "~|null|Null|NULL|", lambda text: None),
    ("merge", "<", "<<", str),
)
_READ = {f"{_TAG}{name}": (name, re.compile(pattern), read) for name, _, pattern, read in _SCALARS}


class _Loader(yaml.SafeLoader):
    """Parses to nodes; a plain scalar is tagged by `_SCALARS`."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Stops early: PyYAML needs ten seconds for a text of 1 MiB that is full of nodes."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _too_many(self.get_mark().line + 1)
        return super().compose_node(parent, index)


for _name, _first, _pattern, _ in _SCALARS:
    _Loader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), [*_first, *[""] * (_name == "null")]
    )


class _Builder:
    """The value of one document; bounded, however often its aliases repeat it."""

    def __init__(self) -> None:
        self._nodes = 0
        self._open: set[yaml.Node] = set()  # those on the way from the root

    def value(self, node: yaml.Node) -> Any:
        """What a node stands for."""
        if isinstance(node, yaml.ScalarNode):
            self._count(node)
            return _scalar(node)
        if node.tag != (_MAP if isinstance(node, yaml.MappingNode) else _SEQ):
            raise _unknown_tag(node)
        self._enter(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return {key: self.value(value) for key, (_, value) in self._pairs(node).items()}
            return [self.value(entry) for entry in node.value]
        finally:
            self._open.discard(node)

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key -> its node and its value's, with what is merged in."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merge: yaml.Node | None = None
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key_node.tag == _MERGE:
                if merge is not None:
                    raise _twice(key_node, "<<", merge)
                merge = key_node
                for found in self._merged(value_node):
                    merged = {**found, **merged}
                for both in own.keys() & merged.keys():
                    raise _wrong(
                        own[both][0],
                        f"{_short(both)} is also in the << of line {_line(key_node)}, which wins "
                        "for kubectl alone; put << first",
                    )
            elif key in own:
                raise _twice(key_node, key, own[key][0])
            else:
                own[key] = (key_node, value_node)
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> Iterator[dict[str, tuple[yaml.Node, yaml.Node]]]:
        """Of the value of a ``<<``: its mappings, of which the earlier ones win."""
        for entry in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(entry, yaml.MappingNode) or entry.tag != _MAP:
                raise _wrong(entry, "<< takes a mapping or a list of mappings, such as *name")
            self._enter(entry)
            found = self._pairs(entry)
            self._open.discard(entry)
            for _ in found:
                self._count(entry)
            yield found

    def _enter(self, node: yaml.Node) -> None:
        self._count(node)
        if node in self._open:
            raise _wrong(node, "its alias lies inside of it; a value cannot contain itself")
        if len(self._open) == _MAX_DEPTH:
            raise SpecError(["not a FederatedSearch: nested too deeply"])
        self._open.add(node)

    def _count(self, node: yaml.Node) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _too_many(_line(node))


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
        documents = [d for d in map(_Builder().value, _composed(text)) if d is not None]
    except RecursionError:
        raise SpecError(["not a FederatedSearch: nested too deeply"]) from None
    if not documents:
        raise SpecError(["empty; must be a FederatedSearch"])
    if len(documents) > 1:
        raise SpecError([f"{len(documents)} documents; must be one FederatedSearch"])
    return documents[0]


def _composed(text: str) -> Iterator[yaml.Node]:
    """The documents' nodes; whatever PyYAML makes of a mistake gets its line."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            yield node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise SpecError([f"{where}not YAML: {what}"]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"unacceptable character #x{ord(text[error.position]):04x}"
        raise SpecError([f"line {line}: not YAML: {what}"]) from None
    except ValueError as error:  # of chr() on "\U00110000", of int() in %YAML
        if isinstance(error, SpecError) or loader is None:
            raise
        raise SpecError([f"line {loader.get_mark().line + 1}: not YAML: {error}"]) from None


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.tag == f"{_TAG}str":
        return _text(node)
    if node.tag not in _READ:
        raise _unknown_tag(node)
    name, pattern, read = _READ[node.tag]
    if pattern.fullmatch(node.value) is None:
        raise _wrong(node, f"{_short(node.value)!r} is no !!{name}")
    if name == "int" and len(node.value) > _MAX_DIGITS:
        raise _wrong(node, f"a number of {len(node.value)} digits; must have {_MAX_DIGITS} at most")
    return read(node.value)


def _key(node: yaml.Node) -> str:
    """A key as text; ``5`` and ``true`` are text where a key is wanted, as for kubectl."""
    if not isinstance(node, yaml.ScalarNode) or _scalar(node) is None:
        raise _wrong(node, "a key must be text")
    return _text(node)


def _text(node: yaml.ScalarNode) -> str:
    """Text, whose JSON escapes of a character in two halves are put together."""
    text: str = node.value
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _wrong(node, "an escape of half a character; must be a whole one") from None


def _wrong(node: yaml.Node, what: str) -> SpecError:
    return SpecError([f"line {_line(node)}: {what}"])


def _too_many(line: int) -> SpecError:
    return SpecError(
        [f"line {line}: more than {_MAX_NODES} values, aliases written out; must be fewer"]
    )


def _unknown_tag(node: yaml.Node) -> SpecError:
    what = f"not YAML: could not determine a constructor for the tag {_short(node.tag)} here"
    return _wrong(node, f"{what}; leave it out")


def _twice(node: yaml.Node, key: str, first: yaml.Node) -> SpecError:
    return _wrong(node, f"{_short(key)} is given twice; first in line {_line(first)}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _short(text: str) -> str:
    """On one line, and no longer than that."""
    text = text.replace(_TAG, "!!")
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    return shown if shown.isprintable() else repr(shown)[1:-1]
