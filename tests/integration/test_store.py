"""The contract of a store, against a folder and against a real MinIO."""

from __future__ import annotations

import http.server
import math
import pickle
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from fednas.errors import BadInput, Diverged, NotFound, StoreError, StoreUnreachable
from fednas.store import Blobs, FolderStore, Journal, MinioConfig, MinioStore, Store
from tests.servers import Minio, free_port, minio_server


@pytest.fixture(params=["folder", "minio", "minio under a prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path)
    config: MinioConfig = request.getfixturevalue("bucket")
    return config.under("" if request.param == "minio" else "some/prefix").open()


def test_what_was_put_is_read_back(store: Store) -> None:
    data = secrets.token_bytes(70_000)
    store.put("work/blobs/a", data)
    assert store.get("work/blobs/a") == data
    store.put("work/blobs/a", b"other", durable=True)
    assert store.get("work/blobs/a") == b"other"
    store.put("work/empty", b"")
    assert store.get("work/empty") == b""


def test_what_is_missing_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="journal/nothing"):
        store.get("journal/nothing")
    store.delete("journal/nothing")


def test_deleted_is_gone(store: Store) -> None:
    store.put("a", b"1")
    store.delete("a")
    with pytest.raises(NotFound):
        store.get("a")
    assert store.create("a", b"2")


def test_create_writes_once(store: Store) -> None:
    assert store.create("journal/000-start.json", b"first")
    assert not store.create("journal/000-start.json", b"second")
    assert store.get("journal/000-start.json") == b"first"


def test_of_many_that_create_one_wins(store: Store) -> None:
    won: list[int] = []
    threads = [
        threading.Thread(
            target=lambda n=n: won.append(n) if store.create("one", str(n).encode()) else None
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("one") == str(won[0]).encode()


def test_list_gives_the_keys_under_a_prefix_in_order(store: Store) -> None:
    before = time.time() - 2
    for key in ("journal/002/b", "journal/001/a", "journal/001/a-b", "ladder/x", "journal/000"):
        store.put(key, key.encode())
    found = list(store.list("journal/"))
    assert [entry.key for entry in found] == [
        "journal/000",
        "journal/001/a",
        "journal/001/a-b",
        "journal/002/b",
    ]
    assert [entry.size for entry in found] == [len(entry.key) for entry in found]
    assert all(before <= entry.modified <= time.time() + 2 for entry in found)
    assert [entry.key for entry in store.list("journal/001")] == [
        "journal/001/a",
        "journal/001/a-b",
    ]
    assert not list(store.list("nothing/"))


def test_blobs_are_named_by_their_digest(store: Store) -> None:
    blobs = Blobs(store, "work/blobs/")
    digest = blobs.put(b"weights")
    assert blobs.get(digest) == b"weights"
    assert store.uri("k").endswith("k")


def test_a_journal_record_is_written_once(store: Store) -> None:
    journal = Journal(store, "journal/id/")
    journal.record("000-start", {"seed": 1})
    again = Journal(store, "journal/id/")
    again.record("000-start", {"seed": 1})
    with pytest.raises(Diverged):
        again.record("000-start", {"seed": 2})
    assert [r.value["seed"] for r in Journal(store, "journal/id/").refresh()] == [1]


# -- what only a bucket has ----------------------------------------------------------------------


def test_a_configuration_crosses_processes_and_hides_its_secret(bucket: MinioConfig) -> None:
    copy = pickle.loads(pickle.dumps(bucket))
    assert copy == bucket
    copy.open().put("a", b"1")
    assert bucket.open().get("a") == b"1"
    assert bucket.secret_key not in repr(bucket)


def test_a_large_object_and_its_head(bucket: MinioConfig, tmp_path: Path) -> None:
    store = bucket.open()
    data = secrets.token_bytes(9 << 20)
    store.put("big", data)
    assert store.get("big") == data
    assert store.get_range("big", 100) == data[:100]
    path = tmp_path / "file"
    path.write_bytes(data)
    sent: list[int] = []
    store.put_file("file", path, "abc", sent.append)
    assert store.stat("file") == (len(data), "abc")
    assert sum(sent) >= len(data)
    with pytest.raises(NotFound):
        store.stat("nothing")


def test_presigned_urls_reach_one_object_within_its_size(bucket: MinioConfig) -> None:
    store = bucket.open()
    store.put("work/blobs/a", b"weights")
    assert httpx.get(store.presigned_get("work/blobs/a")).content == b"weights"
    other = store.presigned_get("work/blobs/a").replace("blobs/a", "blobs/b")
    assert httpx.get(other).status_code == 403

    post = store.presigned_post("work/uploads/x", max_bytes=10)

    def upload(data: bytes, **fields: str) -> int:
        form = {**post.fields, **fields}
        return httpx.post(post.url, data=form, files={"file": data}).status_code

    assert upload(b"0123456789") == 204
    assert store.get("work/uploads/x") == b"0123456789"
    assert upload(b"0123456789a") == 400
    assert upload(b"0", key="work/uploads/y") == 403
    assert [entry.key for entry in store.list("work/uploads/")] == ["work/uploads/x"]


def test_the_bucket_is_made_only_where_allowed(minio: Minio) -> None:
    config = MinioConfig(minio.endpoint, f"test-{secrets.token_hex(6)}", minio.user, minio.password)
    store = config.open()
    with pytest.raises(StoreError, match="there is no bucket"):
        store.open_bucket(create=False)
    store.open_bucket()
    store.open_bucket(create=False)
    assert not list(store.list(""))


def test_wrong_credentials_are_refused_at_once(bucket: MinioConfig) -> None:
    store = replace(bucket, secret_key="wrong", patience=math.inf).open()
    with pytest.raises(StoreError, match=r"SignatureDoesNotMatch|AccessDenied"):
        store.open_bucket()


def test_a_missing_bucket_is_no_missing_object(minio: Minio) -> None:
    config = MinioConfig(minio.endpoint, "test-nowhere", minio.user, minio.password)
    with pytest.raises(StoreError, match="NoSuchBucket") as caught:
        config.open().get("a")
    assert not isinstance(caught.value, NotFound)


def test_a_server_that_is_away_is_waited_for_so_long(bucket: MinioConfig) -> None:
    waits: list[StoreUnreachable | None] = []
    config = replace(bucket, endpoint=f"http://127.0.0.1:{free_port()}", patience=0.5)
    with pytest.raises(StoreUnreachable, match="does not answer"):
        config.open(on_wait=waits.append).get("a")
    assert len(waits) >= 2
    assert None not in waits


def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    with minio_server(tmp_path) as server:
        config = MinioConfig(server.endpoint, "fednas", server.user, server.password)
        waits: list[StoreUnreachable | None] = []
        store = replace(config, patience=math.inf).open(on_wait=waits.append)
        store.open_bucket()
        store.put("a", b"1")
        server.stop()
        back = threading.Timer(0.5, server.start)
        back.start()
        assert store.get("a") == b"1"
        back.join()
        assert isinstance(waits[0], StoreUnreachable)
        assert waits.pop() is None
        server.stop()
        back = threading.Timer(0.5, server.start)
        back.start()
        with pytest.raises(NotFound):
            store.get("b")
        back.join()
        assert isinstance(waits[-2], StoreUnreachable)
        assert waits[-1] is None, "a refusal is an answer too"


def test_a_uri_takes_its_credentials_from_the_environment(bucket: MinioConfig) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": bucket.access_key,
        "AWS_SECRET_ACCESS_KEY": bucket.secret_key,
        "AWS_ENDPOINT_URL": bucket.endpoint,
    }
    config = MinioConfig.from_uri(f"s3://{bucket.bucket}/data/x/", env=env)
    assert config == replace(bucket, prefix="data/x")
    refused: dict[str, Callable[[], MinioConfig]] = {
        "must be s3": lambda: MinioConfig.from_uri("file:///x", env=env),
        "no endpoint": lambda: MinioConfig.from_uri("s3://xyz", env={}),
        "no credentials": lambda: MinioConfig.from_uri("s3://xyz", endpoint="http://m:9", env={}),
        "endpoint: got 'm:9'": lambda: MinioConfig.from_uri("s3://xyz", endpoint="m:9", env=env),
    }
    for words, make in refused.items():
        with pytest.raises(BadInput, match=words):
            make()


def test_many_are_deleted_at_once_and_what_is_gone_is_no_error(store: Store) -> None:
    keys = [f"work/blobs/{number:04}" for number in range(1100)]
    for key in keys[:30]:
        store.put(key, b"x")
    store.put("work/kept", b"x")
    store.delete(*keys)
    store.delete()
    assert [entry.key for entry in store.list("work/")] == ["work/kept"]


def test_a_listing_begins_after_a_key(store: Store) -> None:
    for key in ("j/0001/rung", "j/0002/rung", "j/0010/rung", "j/start"):
        store.put(key, b"x")
    assert [o.key for o in store.list("j/", "j/0002/rung")] == ["j/0010/rung", "j/start"]
    assert [o.key for o in store.list("j/", "j/0003")] == ["j/0010/rung", "j/start"]


def test_keys_that_not_every_client_could_name_are_refused(store: Store) -> None:
    for key in ("../x", "a/../b", "a//b", "/a", "a/", "./a", "", "a\nb"):
        with pytest.raises(StoreError, match="key"):
            store.put(key, b"x")


def test_a_store_of_a_bucket_is_copied_by_opening_it_again(bucket: MinioConfig) -> None:
    store = bucket.open()
    store.put("a", b"x")
    assert pickle.loads(pickle.dumps(store)).get("a") == b"x"


@pytest.mark.parametrize(("minutes", "way"), [(20, "ahead of"), (-20, "behind")])
def test_a_wrong_clock_is_named(
    bucket: MinioConfig, monkeypatch: pytest.MonkeyPatch, minutes: int, way: str
) -> None:
    off = timedelta(minutes=minutes)
    monkeypatch.setattr("minio.time.utcnow", lambda: datetime.now(UTC) + off)
    monkeypatch.setattr("minio.api.time.utcnow", lambda: datetime.now(UTC) + off)
    store = MinioStore(bucket, now=lambda: time.time() + off.total_seconds())
    with pytest.raises(
        StoreError, match=rf"clock is (19 min 5\d s|20 min( \d s)?) {way} the store"
    ):
        store.get("a")


class Forwarding(http.server.BaseHTTPRequestHandler):
    """A forward proxy that counts."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        answer = httpx.get(self.path, headers=dict(self.headers.items()), trust_env=False)
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        pass


def test_a_proxy_of_the_environment_is_followed_but_for_no_proxy(
    bucket: MinioConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.open().put("a", b"x")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forwarding) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert bucket.open().get("a") == b"x"
        assert Forwarding.asked == [f"{bucket.endpoint}/{bucket.bucket}/a"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert bucket.open().get("a") == b"x"
        assert len(Forwarding.asked) == 1
        proxy.shutdown()
