"""The store's address is the user's to write, and errors end in a condition that he reads.

So whatever answers there - an API of the cluster, a cloud's metadata - must not be read that way.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fednas.errors import StoreError
from fednas.store import MinioConfig, MinioStore

SECRET = "s3cr3t-of-somebody-else"
JSON = f'{{"token": "{SECRET}"}}'
PAGE = f"<html><body>{SECRET}</body></html>"
TIMES = f"<LastModified>{SECRET}</LastModified><Size>{SECRET}</Size>"
LISTING = (
    f"<ListBucketResult><Name>b</Name><Contents><Key>k</Key>{TIMES}</Contents></ListBucketResult>"
)
CODE = f"<Error><Code>{SECRET}</Code><Message>{SECRET}</Message></Error>"


def answer(status: str, kind: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


@contextmanager
def server(said: bytes) -> Iterator[str]:
    """Somebody who says the same to everybody; gives the endpoint."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


REQUESTS: list[Callable[[MinioStore], object]] = [
    lambda store: store.open_bucket(),
    lambda store: store.get("key"),
    lambda store: store.put("key", b""),
    lambda store: store.create("key", b""),
    lambda store: store.list("key"),
    lambda store: store.delete("key"),
]


@pytest.mark.parametrize(
    "said",
    [
        answer("200 OK", "application/json", JSON),
        answer("200 OK", "application/xml", f"<{SECRET}"),
        answer("200 OK", "application/xml", LISTING),
        answer("403 Forbidden", "application/json", JSON),
        answer("404 Not Found", "text/html", PAGE),
        answer("404 Not Found", "application/xml", CODE),
        answer("500 Internal Server Error", "text/plain", SECRET),
        f"{SECRET} SMTP ready\r\n".encode(),
        f"HTTP/1.1 {SECRET}\r\n\r\n".encode(),
    ],
    ids=[
        *("json", "broken-xml", "listing", "refusal", "page", "code", "failure"),
        *("no-http", "bad-status"),
    ],
)
def test_what_answers_at_the_endpoint_is_not_told(said: bytes) -> None:
    with server(said) as endpoint:
        store = MinioConfig(endpoint, "bucket", "a", "b", patience=0.0).open()
        told = []
        for request in REQUESTS:
            try:
                request(store)
            except StoreError as error:
                told.append(str(error))
        assert told, "nobody who is no store can be one"
        assert not [line for line in told if SECRET in line]
