"""The store over S3: MinIO, or any server that honours ``If-None-Match: *`` on a PUT."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Self

from minio.datatypes import PostPolicy
from minio.error import S3Error

from fednas.errors import BadInput, StoreError
from fednas.store._objects import PART, BucketObjects

__all__ = ["MinioStore", "PresignedPost"]


@dataclass(frozen=True)
class PresignedPost:
    """Leave to upload one object: POST ``fields`` and then the file, as a multipart form."""

    url: str
    fields: dict[str, str]


class MinioStore(BucketObjects):
    """A bucket, or what lies under a prefix of it, as a `fednas.store.Store`. Thread-safe.

    For its parameters see `BucketObjects`.
    """

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
            # Not a HEAD: its answer has no body to say what is wrong with clock, region or keys.
            found = self._client.list_objects(self._bucket)
            try:
                next(iter(found), None)
            except S3Error as error:
                if error.code != "NoSuchBucket" or not create:
                    raise
                self._make_bucket()

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
        name = self._name(key)
        found = self._asked(key, lambda: self._client.stat_object(self._bucket, name))
        noted = found.metadata.get("x-amz-meta-sha256") if found.metadata else None
        return found.size or 0, noted

    def put_file(
        self, key: str, path: Path, digest: str, sent: Callable[[int], None] = lambda _: None
    ) -> None:
        """Stream a local file into an object, noting its sha256; ``sent`` counts the bytes.

        Raises
        ------
        BadInput
            If the file cannot be read.
        """
        name = self._name(key)

        def write() -> None:
            with _Counted(path, sent) as file:
                self._client.put_object(
                    self._bucket,
                    name,
                    file,  # type: ignore[arg-type]
                    file.size,
                    metadata={"sha256": digest},
                    part_size=PART,
                )

        self._asked(key, write)

    def presigned_get(self, key: str, expires: float = 3600.0) -> str:
        """A URL that reads this object and nothing else for ``expires`` seconds."""
        return self._client.get_presigned_url(
            "GET", self._bucket, self._name(key), expires=timedelta(seconds=expires)
        )

    def presigned_post(self, key: str, max_bytes: int, expires: float = 3600.0) -> PresignedPost:
        """Leave to write this object and nothing else, of at most ``max_bytes`` bytes."""
        policy = PostPolicy(self._bucket, datetime.now(UTC) + timedelta(seconds=expires))
        policy.add_equals_condition("key", self._name(key))
        policy.add_content_length_range_condition(1, max_bytes)
        fields = self._client.presigned_post_policy(policy)
        url = f"{self.config.endpoint.rstrip('/')}/{self._bucket}"
        return PresignedPost(url, {"key": self._name(key), **fields})

    def _make_bucket(self) -> None:
        try:
            self._client.make_bucket(self._bucket)
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":  # by another process, meanwhile
                raise


class _Counted:
    """A local file that tells how much of it was read; its errors are not the server's."""

    def __init__(self, path: Path, sent: Callable[[int], None]) -> None:
        self._path = path
        self._sent = sent
        self._file: BinaryIO | None = None
        self.size = 0

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("rb")
            self.size = self._path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from None
        return self

    def __exit__(self, *_: Any) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, size: int = -1) -> bytes:
        assert self._file is not None
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self._unreadable(error) from None
        self._sent(len(data))
        return data

    def _unreadable(self, error: OSError) -> BadInput:
        return BadInput(f"{self._path}: cannot be read: {error.strerror}")
