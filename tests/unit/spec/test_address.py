"""Servers, buckets and keys: what is taken for one, and in which words the rest is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import BadInput, SpecError
from fednas.spec import (
    bucket_problem,
    endpoint_problem,
    key_problem,
    load_spec,
    parse_s3,
)
from fednas.spec._address import s3_pattern

from .test_load import SMALLEST


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("s3://bkt", ""),
        ("s3://bkt/", ""),
        ("s3://bkt/k/run#1", "k/run#1"),
        ("s3://bkt/k/run?x=1", "k/run?x=1"),
        ("s3://bkt/a%2Fb%zz", "a%2Fb%zz"),
        ("s3://bkt/a b+c", "a b+c"),
        ("s3://bkt/a:b@c;d", "a:b@c;d"),
        ("s3://bkt/prefix/", "prefix/"),
        ("s3://bkt/.../..x/.y", ".../..x/.y"),
    ],
)
def test_all_behind_the_bucket_is_the_key_as_it_stands(uri: str, key: str) -> None:
    assert parse_s3(uri) == ("bkt", key)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("bkt/x", "must be s3://bucket, s3://bucket/prefix or s3://bucket/key"),
        ("s3:bkt/x", "must be s3://bucket"),
        ("S3://bkt/x", "must be s3://bucket"),
        ("s3://", "must be s3://bucket"),
        ("s3:///x", "must be s3://bucket"),
        ("s3://b/x", "its bucket 'b' must be of lower-case"),
        ("s3://bkt?x/x", "its bucket 'bkt?x' must be of lower-case"),
        ("s3://bkt#x", "its bucket 'bkt#x' must be of lower-case"),
        ("s3://u:p@bkt/x", "its bucket 'u:p@bkt' must be of lower-case"),
        ("s3://1.2.3.4/x", "its bucket '1.2.3.4' must be of lower-case"),
        ("s3://bkt/../x", "'..' is not allowed in a key"),
        ("s3://bkt/a/./b", "'.' is not allowed in a key"),
        ("s3://bkt/a//b", "an empty part is not allowed in a key"),
        ("s3://bkt//a", "an empty part is not allowed in a key"),
        ("s3://bkt/a//", "an empty part is not allowed in a key"),
        ("s3://bkt/ ", "an empty part is not allowed in a key"),
        ("s3://bkt/a\nb", "a control character is not allowed in a key"),
        ("s3://bkt/a\x9fb", "a control character is not allowed in a key"),
        ("s3://bkt/\udc80", "is no text in UTF-8 is not allowed in a key"),
        ("s3://bkt/\ufffe", "is no text in UTF-8 is not allowed in a key"),
        ("s3://bkt/" + "é" * 513, "a key has at most 1024 bytes"),
    ],
)
def test_what_is_no_address_in_s3_is_refused_on_one_line(uri: str, words: str) -> None:
    with pytest.raises(BadInput, match=re.escape(words)) as caught:
        parse_s3(uri)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["fednas", "abc", "a.b-c.d", "1.2.3", "1.2.3.4.5", "x" * 63])
def test_a_bucket_that_s3_takes_is_taken(name: str) -> None:
    assert bucket_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("", "b", "b kt", "Bucket", "a_b", "-ab", "ab-", ".ab", "x" * 64, "bkt\n", "é" * 3),
        *("1.2.3.4", "999.1.1.1", "a..b", "a.-b", "a-.b", "xn--ab", "ab-s3alias", "ab--ol-s3"),
    ],
)
def test_a_bucket_that_s3_refuses_is_refused(name: str) -> None:
    assert bucket_problem(name).startswith("must be of lower-case letters")


@pytest.mark.parametrize(
    "url",
    [
        *("http://minio:9000", "https://s3.example.org", "http://h:65535/", "http://a_b:1"),
        *("http://[::1]:9000", "http://[::]", "http://[fe80::1:2]", "http://[1:2:3:4:5:6:7:8]"),
        *("http://[1:2:3:4:5:6:7::]", "http://192.0.2.1", "http://h.ns.svc.cluster.local.:80"),
    ],
)
def test_the_address_of_a_server_is_taken(url: str) -> None:
    assert endpoint_problem(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        *("http://h:99999", "http://h:65536", "http://h:0", "http://h:", "http://h:abc"),
        *("http://[::1", "http://::1", "http://[:::1]", "http://[1::2::3]", "http://[x]"),
        *("http://[1:2:3:4:5:6:7:8:9]", "http://u:p@h", "http://u@h", "http://h/path"),
        *("http://h?x", "http://h#x", "http://h ", "http://h\n", "http://", "ftp://h", "h:9000"),
        *("http://a..b", "http://-a", "http://" + "a" * 64, "", "http://ä"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    assert endpoint_problem(url).startswith("must be a URL of http:// or https://")


@given(st.text(st.sampled_from("a./ #\t\x85é"), max_size=12))
def test_the_pattern_for_the_api_server_agrees_with_the_rule(key: str) -> None:
    blank = any(part and not part.strip() for part in key.split("/"))
    matches = re.fullmatch(s3_pattern(prefix=False), f"s3://bkt/{key}") is not None
    # The pattern lets a part of spaces pass, which only Python refuses.
    assert matches == (key_problem(key) == "" or (blank and _without_blanks_is_key(key)))


def _without_blanks_is_key(key: str) -> bool:
    filled = "/".join(
        "x" if part and not part.strip() and part.isprintable() else part for part in key.split("/")
    )
    return key_problem(filled) == ""


@pytest.mark.parametrize("uri", ["http://mlflow:5000/a?b", "http://[::1]:5000", "sqlite:///m.db"])
def test_a_tracking_server_is_taken(uri: str) -> None:
    assert load_spec(SMALLEST, [f"tracking.uri='{uri}'"]).spec.tracking is not None


@pytest.mark.parametrize(
    "uri",
    ["http://h:abc", "http://h:70000", "http://u:p@h", "http://h?x", "http://[::1", "ftp://h"],
)
def test_what_is_no_tracking_server_is_refused_with_its_field(uri: str) -> None:
    with pytest.raises(SpecError, match=r"^spec\.tracking\.uri: got .*; must be like http://"):
        load_spec(SMALLEST, [f"tracking.uri='{uri}'"])
