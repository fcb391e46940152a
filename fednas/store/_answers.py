"""What a server's refusals mean, in words that say what to do about them.

What is told ends in a condition that its reader may not have been let to ask for, since the store's
address is his to write: so never a body, and of S3's own errors the code and the message alone.
"""

from __future__ import annotations

import http.client
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from fednas.errors import NotFound, StoreError
from fednas.store._bucket import MinioConfig

__all__ = ["ANSWERS", "Refusal", "error_of", "failure", "refusal_of", "trouble_of"]

ANSWERS = (S3Error, InvalidResponseError, ServerError)
"""What minio-py raises for an answer that is an error."""

# Seconds. A URL signed for five minutes is refused by this much already.
_SKEWED = 300.0
_LONGEST = 300  # characters of what a server says
_CODE = re.compile("[A-Za-z][A-Za-z0-9]{0,63}|[45][0-9]{2}")
_NOT_S3 = "an answer that is none of S3's"


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error.

    Attributes
    ----------
    status : int
        Of HTTP.
    code, message : str
        Of S3; the code is ``HTTP 502`` where the answer is none of S3's.
    date : float or None
        Seconds since the epoch by the server's clock.
    """

    status: int
    code: str
    message: str
    date: float | None = None

    @property
    def passes(self) -> bool:
        """Whether asking again may help."""
        return self.status in (408, 429) or self.status >= 500


def refusal_of(error: Exception) -> Refusal:
    """What minio-py raised, as it was answered."""
    if isinstance(error, S3Error):
        answer = error.response
        # The answer to a HEAD has no body, and minio-py guesses; MinIO tells the code in a header.
        code = answer.headers.get("x-minio-error-code") or error.code or str(answer.status)
        message = answer.headers.get("x-minio-error-desc", "").strip('"') or error.message or ""
        if not _CODE.fullmatch(code):
            return Refusal(answer.status, f"HTTP {answer.status}", _NOT_S3)
        return Refusal(answer.status, code, _line(message), _date(answer.headers.get("date")))
    if isinstance(error, ServerError):
        return Refusal(error.status_code, f"HTTP {error.status_code}", "the server failed")
    assert isinstance(error, InvalidResponseError)
    return Refusal(error._code, f"HTTP {error._code}", _NOT_S3)


def error_of(answer: urllib3.BaseHTTPResponse) -> Exception:
    """The exception that minio-py would raise for an answer."""
    try:
        return S3Error.fromxml(answer)
    except (ET.ParseError, ValueError):  # not XML: a proxy's page
        kind = answer.headers.get("content-type", "")
        return InvalidResponseError(answer.status, kind, answer.data.decode(errors="replace"))


def failure(config: MinioConfig, uri: str, refusal: Refusal, now: float) -> StoreError:
    """The error to raise for an answer that asking again does not change.

    Parameters
    ----------
    config : MinioConfig
        Who asked where.
    uri : str
        What was asked for.
    refusal : Refusal
        The answer.
    now : float
        Seconds since the epoch by our clock.
    """
    code, said = refusal.code, f"{refusal.code}: {refusal.message}"
    if code in ("NoSuchKey", "ResourceNotFound"):
        return NotFound(f"{uri}: no such object")
    if code == "NoSuchBucket":
        return StoreError(f"{config.endpoint}: there is no bucket {config.bucket!r} ({code})")
    if (clock := _clock(refusal, now)) is not None:
        return StoreError(f"{config.endpoint} refuses what is signed by a wrong clock: {clock}")
    if refusal.status in range(300, 400) or code == "PermanentRedirect":
        return StoreError(
            f"{config.endpoint} sends {uri} elsewhere ({said}); the endpoint must be the server "
            f"that holds the bucket, and AWS_REGION its region (now {config.region})"
        )
    if "region" in refusal.message.lower() and refusal.status == 400:
        return StoreError(
            f"{config.endpoint} is of another region than {config.region!r}; "
            f"set AWS_REGION as the server says ({said})"
        )
    if refusal.status == 403:
        return StoreError(f"{config.endpoint} refuses these credentials for {uri} ({said})")
    return StoreError(f"{uri}: {said}")


def trouble_of(error: Exception) -> str:
    """Why there was no answer."""
    if any(isinstance(cause, http.client.HTTPException) for cause in error.args):
        return "what answers speaks no HTTP"  # its first line is in the error
    said = _line(str(error))
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said += "; SSL_CERT_FILE names a file of the authorities to trust"
    return f"{type(error).__name__}: {said}"


def _clock(refusal: Refusal, now: float) -> str | None:
    """Whose clock is wrong by how much, if that is why."""
    named = refusal.code in ("RequestTimeTooSkewed", "RequestNotReadyYet", "RequestExpired")
    vague = refusal.code == "AccessDenied"
    off = now - refusal.date if refusal.date is not None else 0.0
    if not named and not (vague and abs(off) > _SKEWED):
        return None
    if abs(off) < 1:
        return f"this machine's clock differs from the store's ({refusal.message})"
    way = "behind" if off < 0 else "ahead of"
    return f"this machine's clock is {_duration(abs(off))} {way} the store's; set either right"


def _duration(seconds: float) -> str:
    """``20 min 3 s``: the two largest units."""
    left, words = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2])


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except ValueError:
        return None


def _line(text: str) -> str:
    """On one line, and not a whole page of HTML."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
