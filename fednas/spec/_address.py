"""Addresses: servers, buckets, and what lies in a bucket.

The patterns are told to the API server as well, so they are in the dialect that Python, Rust and
RE2 share: without looking ahead or behind. What a bucket must not be is therefore a second pattern.
"""

from __future__ import annotations

import re

from fednas.errors import BadInput

__all__ = [
    "BUCKET",
    "BUCKET_RIGHT",
    "ENDPOINT",
    "ENDPOINT_RIGHT",
    "METADATA",
    "REGION",
    "REGION_RIGHT",
    "TRACKING",
    "TRACKING_RIGHT",
    "WRONG_BUCKET",
    "WRONG_BUCKET_IN_URI",
    "bucket_problem",
    "endpoint_problem",
    "is_bucket",
    "key_problem",
    "parse_s3",
    "s3_pattern",
]

_LABEL = "[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_NAME = rf"{_LABEL}(\.{_LABEL})*\.?"
_HEX = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    (
        f"({_HEX}:){{7}}{_HEX}",
        *(f"({_HEX}:){{1,{n}}}(:{_HEX}){{1,{7 - n}}}" for n in range(1, 7)),
        f"({_HEX}:){{1,7}}:",
        f":(:{_HEX}){{1,7}}",
        "::",
    )
)
_PORT = "6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}"
_SERVER = rf"https?://({_NAME}|\[({_IPV6})\])(:({_PORT}))?"

ENDPOINT = f"^{_SERVER}/?$"
ENDPOINT_RIGHT = (
    "be a URL of http:// or https://, a host and if need be a port up to 65535, "
    "such as http://minio:9000"
)
TRACKING = rf"^({_SERVER}(/[^\s]*)?|sqlite:///[^\s]+)$"
TRACKING_RIGHT = (
    "be like http://mlflow:5000, with a port up to 65535 and no user or password, "
    "or sqlite:///mlflow.db"
)

_NUMBER = "(0x[0-9a-f]+|[0-9]+)"
METADATA = (
    r"^https?://(((169|0x0*a9|0+251)\.(254|0x0*fe|0+376)\.)"
    rf"|{_NUMBER}(\.{_NUMBER}){{0,2}}\.?([:/]|$)"
    r"|\[(fe[89ab][0-9a-f]:|fd00:ec2:|::(ffff:)?a9fe:))"
)
"""Link-local addresses, and the one of AWS's metadata beside them, as a host is written.

Resolvers take an address also in octal and hexadecimal parts, and as fewer than four numbers.
"""

REGION = "^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$"
REGION_RIGHT = "be of letters, digits, - and _, as us-east-1"

_BUCKET_TEXT = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
BUCKET = f"^{_BUCKET_TEXT}$"
BUCKET_RIGHT = (
    "be of lower-case letters, digits, - and ., 3 to 63 of them, a letter or digit beside each ., "
    "and no IP address, xn--..., ...-s3alias or ...--ol-s3"
)


def _wrong_bucket(before: str, after: str) -> str:
    ends = f"(-s3alias|--ol-s3){after}"
    return rf"^{before}(xn--|[0-9]+(\.[0-9]+){{3}}{after}|[^/]*(\.[.-]|-\.|{ends}))"


WRONG_BUCKET = _wrong_bucket("", "$")
"""What `BUCKET` lets through and S3 does not."""
WRONG_BUCKET_IN_URI = _wrong_bucket("s3://", "/")

_CONTROL = r"\x00-\x1f\x7f-\x9f"
# Neither empty nor one or two dots, told without looking ahead.
_PART = rf"(\.*[^/.{_CONTROL}][^/{_CONTROL}]*|\.{{3,}})"
_MAX_KEY_BYTES = 1024
# These are sent, but no XML can hold them: such an object could not be deleted again.
_NOT_IN_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")


def s3_pattern(*, prefix: bool) -> str:
    """Of ``s3://bucket/key``; a prefix may end with a slash."""
    return f"^s3://{_BUCKET_TEXT}/({_PART}/)*{_PART}{'/?' if prefix else ''}$"


def is_bucket(text: str) -> bool:
    """Whether S3 takes it for the name of a bucket."""
    return re.fullmatch(BUCKET, text) is not None and re.search(WRONG_BUCKET, text) is None


def bucket_problem(text: str) -> str:
    """What would be right instead, ``must ...``; empty if it is the name of a bucket."""
    return "" if is_bucket(text) else f"must {BUCKET_RIGHT}"


def endpoint_problem(text: str) -> str:
    """What would be right instead, ``must ...``; empty if it is a server's address alone."""
    return "" if re.fullmatch(ENDPOINT, text) else f"must {ENDPOINT_RIGHT}"


def key_problem(key: str) -> str:
    """Why it is no key of an object, in words; empty if it is one.

    A key is made of parts with a ``/`` between each two. Anything else is normalized away or
    refused by some client, proxy or server on the way, so that two keys would be one object.
    """
    parts = key.split("/")
    for part in parts:
        if part in (".", ".."):
            return f"{part!r} is not allowed in a key"
        if not part.strip():
            return "an empty part is not allowed in a key: one / between parts, none at either end"
    if re.search(f"[{_CONTROL}]", key):
        return "a control character is not allowed in a key"
    if _NOT_IN_XML.search(key):
        return "a character that is no text in UTF-8 is not allowed in a key"
    if len(key.encode()) > _MAX_KEY_BYTES:
        return f"a key has at most {_MAX_KEY_BYTES} bytes"
    return ""


def parse_s3(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    The key is all that follows the bucket's slash, as it is written: ``#``, ``?``, ``%`` and
    spaces mean themselves. It is empty for ``s3://bucket``, and ends with a slash if the URI does.

    Raises
    ------
    BadInput
        If it is no such URI, S3 takes no such bucket, or not every client could name the object.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise BadInput(f"got {uri!r}; must be s3://bucket, s3://bucket/prefix or s3://bucket/key")
    if problem := bucket_problem(bucket):
        raise BadInput(f"got {uri!r}; its bucket {bucket!r} {problem}")
    if key and (problem := key_problem(key.removesuffix("/"))):
        raise BadInput(f"got {uri!r}; must be s3://bucket/key: {problem}")
    return bucket, key
