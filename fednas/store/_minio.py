"""The store over S3: MinIO, or any server that honours ``If-None-Match: *`` on a PUT.

Create-once is a conditional PUT: the server answers 412 where the object exists. minio-py has no
such call, so it is a presigned PUT that carries the header. Every request has a timeout; a server
that does not answer is asked again after a capped, jittered wait, for ``patience`` seconds. The
region is always given, so that signing never asks the server.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Self, TypeVar
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.datatypes import PostPolicy
from minio.error import InvalidResponseError, S3Error, ServerError

from fednas.errors import BadInput, NotFound, StoreError, StoreUnreachable
from fednas.store._store import Entry

__all__ = ["MinioConfig", "MinioStore", "PresignedPost", "open_bucket"]

_T = TypeVar("_T")
_PART = 64 << 20
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


@dataclass(frozen=True)
class PresignedPost:
    """Leave to upload one object: POST ``fields`` and then the file, as a multipart form."""

    url: str
    fields: dict[str, str]


@dataclass(frozen=True)
class MinioConfig:
    """Where a bucket lies and who asks. Picklable: each process opens its own `MinioStore`.

    Parameters
    ----------
    endpoint : str
        ``http://host:9000`` or ``https://host``.
    bucket : str
        Its name.
    access_key, secret_key : str
        The credentials.
    prefix : str
        Before every key, without a slash at either end; empty for the whole bucket.
    region : str
        As the server is configured; MinIO's default is ``us-east-1``.
    patience : float
        Seconds for which an unreachable server is asked again before `StoreUnreachable` is raised;
        ``math.inf`` waits for ever.
    connect_timeout, read_timeout : float
        Seconds, of one request.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    prefix: str = ""
    region: str = "us-east-1"
    patience: float = 30.0
    connect_timeout: float = 3.0
    read_timeout: float = 15.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
            raise BadInput(
                f"storage.endpoint: got {self.endpoint!r}; must be a URL such as http://minio:9000"
            )

    @classmethod
    def from_uri(
        cls,
        uri: str,
        *,
        endpoint: str | None = None,
        env: Mapping[str, str] = os.environ,
        patience: float = 30.0,
    ) -> Self:
        """Of ``s3://bucket/prefix``, with credentials and endpoint from the environment.

        Parameters
        ----------
        uri : str
            ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint : str, optional
            Instead of ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``.
        env : mapping
            Where ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_REGION`` are looked up.
        patience : float
            As of the class.

        Raises
        ------
        BadInput
            If the URI, the endpoint or the credentials are missing or malformed.
        """
        parts = urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc:
            raise BadInput(f"got {uri!r}; must be s3://bucket or s3://bucket/prefix")
        where = endpoint or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
        if not where:
            raise BadInput(f"{uri}: no endpoint; give --endpoint or set AWS_ENDPOINT_URL_S3")
        missing = [n for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not env.get(n)]
        if missing:
            raise BadInput(f"{uri}: no credentials; set {' and '.join(missing)}")
        return cls(
            endpoint=where,
            bucket=parts.netloc,
            access_key=env["AWS_ACCESS_KEY_ID"],
            secret_key=env["AWS_SECRET_ACCESS_KEY"],
            prefix=parts.path.strip("/"),
            region=env.get("AWS_REGION") or "us-east-1",
            patience=patience,
        )

    def under(self, prefix: str) -> Self:
        """The same bucket and credentials, keys starting elsewhere."""
        return replace(self, prefix=prefix.strip("/"))

    def open(self, on_wait: Callable[[StoreUnreachable | None], None] | None = None) -> MinioStore:
        """A store of one's own; nothing is sent yet."""
        return MinioStore(self, on_wait=on_wait)


class MinioStore:
    """A bucket, or what lies under a prefix of it, as a `fednas.store.Store`. Thread-safe.

    Parameters
    ----------
    config : MinioConfig
        Where and who.
    on_wait : callable, optional
        Called with the error before each wait for a server that does not answer, and with None
        when it answers again.
    """

    def __init__(
        self,
        config: MinioConfig,
        *,
        on_wait: Callable[[StoreUnreachable | None], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._on_wait = on_wait
        self._sleep = sleep
        self._clock = clock
        parts = urlsplit(config.endpoint)
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=config.connect_timeout, read=config.read_timeout),
            maxsize=16,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self._client = Minio(
            parts.netloc,
            access_key=config.access_key,
            secret_key=config.secret_key,
            secure=parts.scheme == "https",
            region=config.region,
            http_client=self._http,
        )
        self._bucket = config.bucket
        self._prefix = f"{config.prefix}/" if config.prefix else ""

    # -- the Store protocol ----------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        """The bytes; `NotFound` where there are none."""
        return self._asked(key, lambda: self._read(key))

    def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Write or replace, atomically. A PUT that was answered is durable anyway."""
        del durable

        def write() -> None:
            self._client.put_object(
                self._bucket, self._prefix + key, BytesIO(data), len(data), part_size=_PART
            )

        self._asked(key, write)

    def create(self, key: str, data: bytes) -> bool:
        """Write if there is no object of that name; False if there is one.

        When the answer to a PUT that was done is lost, the PUT that is sent again finds the object
        there: then the answer is False although this call wrote it. Whoever creates records
        compares contents, as the journal does.
        """

        def write() -> bool:
            url = self._client.get_presigned_url(
                "PUT", self._bucket, self._prefix + key, expires=timedelta(minutes=5)
            )
            answer = self._http.request("PUT", url, body=data, headers={"If-None-Match": "*"})
            if answer.status == 200:
                return True
            if answer.status == 412:
                return False
            if answer.status == 409:  # S3: another conditional PUT of this key is under way
                raise _Again(f"HTTP {answer.status}")
            raise _error_of(answer)

        return self._asked(key, write)

    def delete(self, key: str) -> None:
        """Remove; no error if there is none."""
        self._asked(key, lambda: self._client.remove_object(self._bucket, self._prefix + key))

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every object whose key starts with ``prefix``, in order of keys."""

        def walk() -> list[Entry]:
            found = self._client.list_objects(
                self._bucket, prefix=self._prefix + prefix, recursive=True
            )
            return [
                Entry(
                    key=(item.object_name or "").removeprefix(self._prefix),
                    size=item.size or 0,
                    modified=item.last_modified.timestamp() if item.last_modified else 0.0,
                )
                for item in found
            ]

        return iter(sorted(self._asked(prefix, walk), key=lambda entry: entry.key))

    def path(self, key: str) -> Path | None:
        """None: nothing in a bucket is a local file."""
        del key
        return None

    def uri(self, key: str) -> str:
        """``s3://bucket/prefix/key``."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    # -- what only a bucket has ------------------------------------------------------------------

    def open_bucket(self, *, create: bool = True) -> None:
        """Make sure that the bucket is there and that create-once works in it.

        Raises
        ------
        StoreError
            If the bucket is missing and cannot be made, if the credentials are refused, or if the
            server overwrites an object in spite of ``If-None-Match: *``.
        StoreUnreachable
            If the server does not answer for ``patience`` seconds.
        """

        def ensure() -> None:
            if self._client.bucket_exists(self._bucket):
                return
            if not create:
                raise StoreError(f"{self.config.endpoint}: there is no bucket {self._bucket!r}")
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code != "BucketAlreadyOwnedByYou":
                    raise

        self._asked("", ensure)
        probe = f"probe-{secrets.token_hex(8)}"
        try:
            self.create(probe, b"fednas")
            if self.create(probe, b"fednas"):
                raise StoreError(
                    f"{self.config.endpoint}: the server ignores If-None-Match: * on a PUT; "
                    "fednas needs a store that can create an object only once (MinIO can)"
                )
        finally:
            self.delete(probe)

    def get_range(self, key: str, length: int) -> bytes:
        """The first ``length`` bytes of an object, or all of it where it is shorter."""
        return self._asked(key, lambda: self._read(key, length))

    def stat(self, key: str) -> tuple[int, str | None]:
        """Size in bytes, and the sha256 that `put_file` noted, if it did."""
        found = self._asked(key, lambda: self._client.stat_object(self._bucket, self._prefix + key))
        noted = found.metadata.get("x-amz-meta-sha256") if found.metadata else None
        return found.size or 0, noted

    def put_file(
        self, key: str, path: Path, digest: str, sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Stream a local file into an object, noting its sha256; ``sent`` counts the bytes."""

        def write() -> None:
            with path.open("rb") as file:
                self._client.put_object(
                    self._bucket,
                    self._prefix + key,
                    _Counted(file, sent),  # type: ignore[arg-type]
                    path.stat().st_size,
                    metadata={"sha256": digest},
                    part_size=_PART,
                )

        self._asked(key, write)

    def presigned_get(self, key: str, expires: float = 3600.0) -> str:
        """A URL that reads this object and nothing else for ``expires`` seconds."""
        return self._client.get_presigned_url(
            "GET", self._bucket, self._prefix + key, expires=timedelta(seconds=expires)
        )

    def presigned_post(self, key: str, max_bytes: int, expires: float = 3600.0) -> PresignedPost:
        """Leave to write this object and nothing else, of at most ``max_bytes`` bytes."""
        policy = PostPolicy(self._bucket, datetime.now(UTC) + timedelta(seconds=expires))
        policy.add_equals_condition("key", self._prefix + key)
        policy.add_content_length_range_condition(1, max_bytes)
        fields = self._client.presigned_post_policy(policy)
        url = f"{self.config.endpoint.rstrip('/')}/{self._bucket}"
        return PresignedPost(url, {"key": self._prefix + key, **fields})

    # -- asking ----------------------------------------------------------------------------------

    def _read(self, key: str, length: int = 0) -> bytes:
        answer = self._client.get_object(self._bucket, self._prefix + key, length=length)
        try:
            return answer.read()
        finally:
            answer.close()
            answer.release_conn()

    def _asked(self, key: str, request: Callable[[], _T]) -> _T:
        """Do a request, again and again while the server is away; map what it answers."""
        began, wait, waited = self._clock(), _FIRST_WAIT, False
        while True:
            try:
                answer = request()
            except (urllib3.exceptions.HTTPError, OSError, _Again) as error:
                trouble = f"{type(error).__name__}: {error}"
            except (S3Error, InvalidResponseError, ServerError) as error:
                status, code, message = _told(error)
                if status not in (408, 429) and status < 500:
                    raise self._mapped(key, code, message) from error
                trouble = message
            else:
                if waited and self._on_wait:
                    self._on_wait(None)
                return answer
            away = StoreUnreachable(f"{self.config.endpoint} does not answer ({trouble})")
            if self._clock() - began + wait > self.config.patience:
                raise away
            if self._on_wait:
                self._on_wait(away)
            waited = True
            self._sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(2 * wait, _LONGEST_WAIT)

    def _mapped(self, key: str, code: str, message: str) -> StoreError:
        if code in ("NoSuchKey", "ResourceNotFound"):
            return NotFound(f"{self.uri(key)}: no such object")
        if code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            where = f"{self.config.endpoint} refuses these credentials for {self.uri(key)}"
            return StoreError(f"{where} ({code}: {message})")
        return StoreError(f"{self.uri(key)}: {code}: {message}")


def open_bucket(bucket: str) -> MinioStore:
    """A bucket with credentials and endpoint from the environment; see `MinioConfig.from_uri`."""
    return MinioConfig.from_uri(f"s3://{bucket}").open()


class _Again(Exception):
    """The server asks to be asked again."""


@dataclass
class _Counted:
    file: BinaryIO
    sent: Callable[[int], None]

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.sent(len(data))
        return data


def _told(error: S3Error | InvalidResponseError | ServerError) -> tuple[int, str, str]:
    """Status, code and message of an answer that is an error."""
    if isinstance(error, S3Error):
        status = error.response.status
        return status, error.code or str(status), error.message or ""
    if isinstance(error, ServerError):
        return error.status_code, str(error.status_code), str(error)
    return error._code, f"HTTP {error._code}", str(error)


def _error_of(answer: urllib3.BaseHTTPResponse) -> Exception:
    try:
        return S3Error.fromxml(answer)
    except Exception:  # not XML: a proxy's page
        kind = answer.headers.get("content-type", "")
        return InvalidResponseError(answer.status, kind, answer.data.decode(errors="replace"))
