"""YAML means what it means to kubectl, or is refused with the line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fednas.errors import SpecError
from fednas.spec._yaml import read_yaml

ANCHORS = "x: [&a {k: A, j: A}, &b {k: B, i: B}, &c {<<: {k: C, m: C}, m: D}, &l [a]]\n"


def refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        read_yaml(text)
    (line,) = caught.value.problems
    assert line.isprintable()
    return line


# What `kubectl annotate --local -o json` makes of the same text (kubectl 1.34).
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<<: [*a, *b]", {"i": "B", "j": "A", "k": "A"}),
        ("<<: [*b, *a]", {"i": "B", "j": "A", "k": "B"}),
        ("<<: *a\n  k: E", {"j": "A", "k": "E"}),
        ("n: E\n  <<: *a", {"n": "E", "j": "A", "k": "A"}),
        ("<<: *c", {"k": "C", "m": "D"}),
        ("<<: {z: 1}", {"z": 1}),
        ("'<<': *a", {"<<": {"k": "A", "j": "A"}}),
        ("k: <<", {"k": "<<"}),
        ("k: !!str 5", {"k": "5"}),
        ("k: !!bool true", {"k": True}),
        ("k: !!float 5", {"k": 5.0}),
        ("k: !!null ~", {"k": None}),
        ("5: a\n  true: b", {"5": "a", "true": "b"}),
        ("k: *a", {"k": {"k": "A", "j": "A"}}),
    ],
)
def test_merges_tags_and_keys_give_what_they_give_in_kubectl(text: str, value: Any) -> None:
    assert read_yaml(f"{ANCHORS}d:\n  {text}\n")["d"] == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("k: E\n  <<: *a", "line 3: k is also in the << of line 4, which wins for kubectl alone"),
        ("<<: *a\n  <<: *b", "line 4: << is given twice; first in line 3"),
        ("k: 1\n  k: 2", "line 4: k is given twice; first in line 3"),
        ('"a\\nb": 1\n  "a\\nb": 2', "line 4: a\\nb is given twice"),
        ("<<: *l", "line 1: << takes a mapping or a list of mappings"),
        ("<<: foo", "line 3: << takes a mapping"),
        ("<<: ~", "line 3: << takes a mapping"),
        ("<<: [*a, 5]", "line 3: << takes a mapping"),
        ("k: !!bool zz", "line 3: 'zz' is no !!bool"),
        ("k: !!int x", "line 3: 'x' is no !!int"),
        ("k: !!int ''", "line 3: '' is no !!int"),
        ("k: !!float x", "line 3: 'x' is no !!float"),
        ("k: !!null x", "line 3: 'x' is no !!null"),
        ("k: !!timestamp x", "line 3: not YAML: could not determine a constructor for the tag !!t"),
        ("k: !!binary x", "line 3: not YAML: could not determine a constructor for the tag !!bin"),
        ("k: !!map x", "line 3: not YAML: could not determine a constructor for the tag !!map"),
        ("k: !!map [1]", "line 3: not YAML: could not determine a constructor for the tag !!map"),
        ("k: !!set {a}", "line 3: not YAML: could not determine a constructor for the tag !!set"),
        ("k: !mine 5", "line 3: not YAML: could not determine a constructor for the tag !mine"),
        ("!!bool zz: 1", "line 3: 'zz' is no !!bool"),
        ("!!merge z: *a", "line 3: 'z' is no !!merge"),
        ("? [a]\n  : 3", "line 3: a key must be text"),
        ("~: c", "line 3: a key must be text"),
        ("k: &r [*r]", "line 3: its alias lies inside of it"),
        ("k: &r {z: {y: *r}}", "line 3: its alias lies inside of it"),
        ("<<: &r {<<: *r}", "line 3: its alias lies inside of it"),
        ("k: " + "1" * 100_000, "line 3: a number of 100000 digits"),
        ('k: "a\\ud800"', "line 3: an escape of half a character"),
        ('k: "\\U00110000"', "line 3: not YAML: chr()"),
        ("k: \x07", "line 3: not YAML: unacceptable character #x0007"),
        ("k: \ud800", "line 3: not YAML: unacceptable character #xd800"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_its_line(text: str, line: str) -> None:
    assert refused(f"{ANCHORS}d:\n  {text}\n").startswith(line)


def test_an_octal_number_is_no_decimal_one() -> None:
    assert read_yaml("k: 017") == {"k": "017"}  # 15 for kubectl; a field of numbers refuses text


def test_a_character_that_json_writes_in_two_halves_is_one() -> None:
    assert read_yaml('{"k": "\\ud83d\\ude00"}') == {"k": "😀"}


def _grown(first: str, again: str) -> str:
    lines = [f"a: &a {first}"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} {again.replace('*', ','.join([f'*{before}'] * 9))}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_grown("[x,x,x,x,x,x,x,x,x]", "[*]"), "more than 100000 values"),
        (_grown("{k: 1}", "{<<: [*]}"), "more than 100000 values"),
        ("k: [" + "a," * 120_000 + "]", "more than 100000 values"),
        ("[" * 101 + "]" * 101, "nested too deeply"),
        ("\n".join(f"a{n}: &a{n} [{f'*a{n - 1}' * (n > 0)}]" for n in range(500)), "too deeply"),
    ],
    ids=["lists", "merges", "long", "deep", "deep by aliases"],
)
def test_a_small_text_cannot_become_a_large_value(text: str, words: str) -> None:
    began = time.process_time()
    assert words in refused(text)
    assert time.process_time() - began < 20
