"""Where a bucket lies and who asks: checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from fednas.errors import BadInput, StoreUnreachable
from fednas.spec import bucket_problem, endpoint_problem, key_problem, parse_s3

if TYPE_CHECKING:
    from fednas.store._minio import MinioStore

__all__ = ["MinioConfig", "open_bucket"]

_REGION = re.compile("[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class MinioConfig:
    """Where a bucket lies and who asks. Picklable: each process opens its own `MinioStore`.

    Parameters
    ----------
    endpoint : str
        ``http://host:9000``, ``https://host`` or ``http://[::1]:9000``.
    bucket : str
        Its name.
    access_key, secret_key : str
        The credentials.
    prefix : str
        Before every key, without a slash at either end; empty for the whole bucket.
    region : str
        As the server is configured; MinIO's default is ``us-east-1``.
    session_token : str
        Beside temporary credentials; empty for lasting ones.
    patience : float
        Seconds for which an unreachable server is asked again before `StoreUnreachable` is raised;
        ``math.inf`` waits for ever.
    connect_timeout, read_timeout : float
        Seconds, of one request.

    Raises
    ------
    BadInput
        If one of them cannot be right, whatever the server says.
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
    session_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if problem := endpoint_problem(self.endpoint):
            raise BadInput(f"endpoint: got {self.endpoint!r}; {problem}")
        if problem := bucket_problem(self.bucket):
            raise BadInput(f"bucket: got {self.bucket!r}; {problem}")
        if self.prefix and (problem := key_problem(self.prefix)):
            raise BadInput(f"prefix: got {self.prefix!r}; {problem}")
        if not _REGION.fullmatch(self.region):
            raise BadInput(
                f"region: got {self.region!r}; must be of letters, digits, - and _, as us-east-1"
            )
        # A Secret made of a file often ends with its line break.
        for name in ("access_key", "secret_key", "session_token"):
            text: str = getattr(self, name)
            if not text.isprintable() or text.strip() != text:
                raise BadInput(f"{name}: holds a line break or a space at an end; must be one word")
        if not self.access_key.isascii():
            raise BadInput("access_key: must be of ASCII: it travels in a header")

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
            ``s3://bucket`` or ``s3://bucket/prefix``; see `fednas.spec.parse_s3`.
        endpoint : str, optional
            Instead of ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``.
        env : mapping
            Where ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` and
            ``AWS_REGION`` are looked up.
        patience : float
            As of the class.

        Raises
        ------
        BadInput
            If the URI, the endpoint or the credentials are missing or malformed.
        """
        bucket, prefix = parse_s3(uri)
        where = endpoint or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
        if not where:
            raise BadInput(f"{uri}: no endpoint; give --endpoint or set AWS_ENDPOINT_URL_S3")
        missing = [n for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not env.get(n)]
        if missing:
            raise BadInput(f"{uri}: no credentials; set {' and '.join(missing)}")
        return cls(
            endpoint=where,
            bucket=bucket,
            access_key=env["AWS_ACCESS_KEY_ID"],
            secret_key=env["AWS_SECRET_ACCESS_KEY"],
            prefix=prefix.removesuffix("/"),
            region=env.get("AWS_REGION") or "us-east-1",
            patience=patience,
            session_token=env.get("AWS_SESSION_TOKEN") or "",
        )

    def under(self, prefix: str) -> Self:
        """The same bucket and credentials, keys starting elsewhere."""
        return replace(self, prefix=prefix.removesuffix("/"))

    def open(self, on_wait: Callable[[StoreUnreachable | None], None] | None = None) -> MinioStore:
        """A store of one's own; nothing is sent yet."""
        from fednas.store._minio import MinioStore

        return MinioStore(self, on_wait=on_wait)


def open_bucket(bucket: str) -> MinioStore:
    """A bucket with credentials and endpoint from the environment; see `MinioConfig.from_uri`."""
    return MinioConfig.from_uri(f"s3://{bucket}").open()
