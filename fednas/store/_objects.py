"""Objects in a bucket as a `fednas.store.Store`.

Create-once is a conditional PUT: the server answers 412 where the object exists. minio-py has no
such call, so it is a presigned PUT that carries the header. The region is always given, so that
signing never asks the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from minio.deleteobjects import DeleteObject

from fednas.errors import BadInput, StoreError, StoreUnreachable
from fednas.store._answers import Refusal, error_of, failure
from fednas.store._asking import Again, Asking
from fednas.store._bucket import MinioConfig
from fednas.store._pool import open_pool
from fednas.store._store import StoredObject, check_key

__all__ = ["PART", "BucketObjects"]

PART = 64 << 20
"""Bytes of one part of a large upload."""
_DELETED_AT_ONCE = 1000  # as many as S3 takes


class BucketObjects:
    """What `fednas.store.Store` asks for; `MinioStore` has the rest. Thread-safe.

    A copy, in this process or another one, is a store of the same `MinioConfig` with connections
    of its own, and without ``on_wait``.

    Parameters
    ----------
    config : MinioConfig
        Where and who.
    on_wait : callable, optional
        Called with the error before each wait for a server that does not answer, and with None
        when it answers again.
    sleep, clock, now : callable
        Wait for so many seconds; seconds of a clock that never jumps; seconds since the epoch.

    Raises
    ------
    BadInput
        If the endpoint, or the environment's proxy or certificates, cannot be used.
    """

    def __init__(
        self,
        config: MinioConfig,
        *,
        on_wait: Callable[[StoreUnreachable | None], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._now = now
        self._http = open_pool(
            config.endpoint,
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
        )
        try:
            self._client = Minio(
                _netloc(config.endpoint),
                access_key=config.access_key,
                secret_key=config.secret_key,
                session_token=config.session_token or None,
                secure=config.endpoint.startswith("https:"),
                region=config.region,
                http_client=self._http,
            )
        except ValueError as error:  # a host of amazonaws.com that is none of S3's
            raise BadInput(f"endpoint: got {config.endpoint!r}; {error}") from None
        self._bucket = config.bucket
        self._prefix = f"{config.prefix}/" if config.prefix else ""
        self._asked = Asking(config, self._failure, on_wait, sleep, clock)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config,)

    def get(self, key: str) -> bytes:
        """The bytes; `NotFound` where there are none."""
        return self._asked(key, lambda: self._read(key))

    def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Write or replace, atomically. A PUT that was answered is durable anyway."""
        del durable
        name = self._name(key)

        def write() -> None:
            self._client.put_object(self._bucket, name, BytesIO(data), len(data), part_size=PART)

        self._asked(key, write)

    def create(self, key: str, data: bytes) -> bool:
        """Write if there is no object of that name; False if there is one.

        When the answer to a PUT that was done is lost, the PUT that is sent again finds the object
        there: then the answer is False although this call wrote it. Whoever creates records
        compares contents, as the journal does.
        """
        name = self._name(key)

        def write() -> bool:
            url = self._client.get_presigned_url(
                "PUT", self._bucket, name, expires=timedelta(minutes=5)
            )
            answer = self._http.request(
                "PUT", url, body=data, headers={"If-None-Match": "*"}, redirect=False
            )
            if answer.status == 200:
                return True
            if answer.status == 412:
                return False
            if answer.status == 409:  # S3: another conditional PUT of this key is under way
                raise Again(f"HTTP {answer.status}")
            raise error_of(answer)

        return self._asked(key, write)

    def delete(self, *keys: str) -> None:
        """Remove, a thousand in one request; no error if there is none."""
        names = [self._name(key) for key in keys]
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            batch = [DeleteObject(name) for name in names[start : start + _DELETED_AT_ONCE]]
            self._asked(keys[start], partial(self._remove, batch))

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Every object whose key starts with ``prefix`` and is above ``after``, in their order."""
        if not after.startswith(prefix):
            # MinIO lists nothing at all after a key of another prefix.
            if after > prefix:
                return iter(())
            after = ""

        def walk() -> list[StoredObject]:
            found = self._client.list_objects(
                self._bucket,
                prefix=self._prefix + prefix,
                start_after=self._prefix + after if after else None,
                recursive=True,
            )
            return [
                StoredObject(
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

    # -- asking ----------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        """The object's name in the bucket."""
        check_key(key)
        return self._prefix + key

    def _read(self, key: str, length: int = 0) -> bytes:
        answer = self._client.get_object(self._bucket, self._name(key), length=length)
        try:
            return answer.read()
        finally:
            answer.close()
            answer.release_conn()

    def _remove(self, batch: Sequence[DeleteObject]) -> None:
        for error in self._client.remove_objects(self._bucket, batch):
            if error.code in ("InternalError", "SlowDown", "ServiceUnavailable"):
                raise Again(f"{error.code}: {error.message}")
            if error.code != "NoSuchKey":
                status = 403 if error.code == "AccessDenied" else 200
                key = (error.name or "").removeprefix(self._prefix)
                raise self._failure(key, Refusal(status, error.code, error.message or ""))

    def _failure(self, key: str, refusal: Refusal) -> StoreError:
        return failure(self.config, self.uri(key), refusal, self._now())


def _netloc(endpoint: str) -> str:
    """Host and port as minio-py takes them: it loses the brackets of ``[::1]:80``."""
    parts = urlsplit(endpoint)
    usual = 443 if parts.scheme == "https" else 80
    return parts.netloc.removesuffix(f":{usual}")
