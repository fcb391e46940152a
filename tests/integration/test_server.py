"""The coordinator's server with real uploads: what honest and hostile clients are answered."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from fednas.data import encode_rows
from fednas.errors import TaskFailed, TrainingDiverged
from fednas.fleet import LocalFleet
from fednas.fleet._protocol import PROTOCOL
from fednas.fleet._remote import RemoteFleet
from fednas.fleet._server import MAX_BODY, Server, create_app
from fednas.models import encode
from fednas.store import Blobs, Layout, MinioConfig, MinioStore, digest_of
from fednas.work import CLOUD, Pending, Task
from tests.servers import Minio

LAYOUT = Layout("search")
TOKENS = {"operator": "o-token", "class/phone": "p-token", "class/hub": "h-token"}
CLIENTS = {"phone-0": "phone", "phone-1": "phone", "hub-0": "hub"}
WEIGHTS = np.arange(100, dtype=np.float32)
SAMPLES = 5


@dataclass
class Place:
    """A fleet behind a server, as the search sees it."""

    url: str
    fleet: RemoteFleet
    store: MinioStore
    pods: list[Pod] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)

    def submit(self, client: str = "phone-0") -> Pending:
        weights = Blobs(self.store, LAYOUT.blobs).put(encode(WEIGHTS))
        rows = encode_rows(np.zeros((SAMPLES, 1, 2, 2), np.uint8), np.zeros(SAMPLES, np.int64))
        shard = Blobs(self.store, LAYOUT.data).put(rows)
        task = Task(
            id=f"1/pre/a/1/{client}",
            kind="train",
            client=client,
            inputs={"weights": weights},
            data={"shard": shard},
        )
        self.pending.append(self.fleet.submit(task))
        return self.pending[-1]

    def client(self, device_class: str = "phone", name: str = "a", numerics: str = "a") -> Pod:
        token = TOKENS[f"class/{device_class}"]
        pod = Pod(httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}))
        pod.session = pod.says(
            "register",
            protocol=PROTOCOL,
            device_class=device_class,
            name=name,
            numerics={"digest": numerics * 64},
        ).json()["session"]
        self.pods.append(pod)
        return pod

    def count(self, name: str, **labels: str) -> float:
        return self.fleet.metrics.registry.get_sample_value(f"fednas_{name}_total", labels) or 0.0


@dataclass
class Pod:
    """A client program, spoken by hand."""

    http: httpx.Client
    session: str = ""

    def says(self, what: str, **message: Any) -> httpx.Response:
        return self.http.post(f"/v1/{what}", json={"session": self.session, **message}, timeout=30)

    def leases(self, wait: float = 5.0) -> Any:
        answer = self.says("lease", wait_seconds=wait)
        assert answer.status_code == 200, answer.text
        return answer.json()["grant"]

    def uploads(self, grant: Any, data: bytes) -> int:
        to = grant["uploads"]["weights"]
        return httpx.post(to["url"], data=to["fields"], files={"file": data}).status_code

    def completes(self, grant: Any, data: bytes, **changes: Any) -> httpx.Response:
        message = {
            "outputs": {"weights": {"sha256": digest_of(data), "size": len(data)}},
            "sums": {"samples": SAMPLES, "loss": 0.5},
            "weight": SAMPLES,
            **changes,
        }
        return self.says(f"leases/{grant['lease']}/complete", **message)


@pytest.fixture(scope="module")
def place(minio: Minio) -> Iterator[Place]:
    config = MinioConfig(minio.endpoint, f"test-{secrets.token_hex(6)}", minio.user, minio.password)
    store = config.open()
    store.open_bucket()
    fleet = RemoteFleet(CLIENTS)
    tokens = {role: hashlib.sha256(token.encode()).hexdigest() for role, token in TOKENS.items()}
    app = create_app(
        fleet,
        search_id="search",
        status=lambda: {"over": fleet.over},
        tokens=tokens,
        accept_numerics=fleet.numerics.accept_any,
    )
    server = Server(app, "127.0.0.1:0")
    server.start()
    assert httpx.get(f"{server.url}/readyz").status_code == 503
    fleet.open(store, LAYOUT, LocalFleet(config.open, LAYOUT, workers=1))
    yield Place(server.url, fleet, store)
    server.stop()
    fleet.close()


@pytest.fixture(autouse=True)
def fresh(place: Place) -> Iterator[None]:
    """No test suffers from how another one behaved."""
    yield
    while place.pending:
        place.fleet.cancel(place.pending.pop())
    while place.pods:
        place.pods.pop().http.close()
    place.fleet._book.benched.clear()
    place.fleet._book.benched_holders.clear()


GOOD = encode(WEIGHTS + 1)


def test_a_task_is_leased_fetched_uploaded_and_counted(place: Place) -> None:
    pending, pod = place.submit(), place.client()
    grant = pod.leases()
    assert pending.started.done()
    for digest, url in grant["urls"].items():
        assert digest_of(httpx.get(url).content) == digest
    assert set(grant["urls"]) == {*pending.task.inputs.values(), *pending.task.data.values()}
    assert pod.uploads(grant, GOOD) == 204
    assert pod.completes(grant, GOOD, usage={"cpu_seconds": 1.5}).status_code == 200
    result = pending.future.result(60)
    assert result.outputs == {"weights": digest_of(GOOD)}
    assert result.sums == {"samples": SAMPLES, "loss": 0.5}
    assert result.sizes == {"weights": len(GOOD)}
    assert (result.weight, result.usage.cpu_seconds) == (SAMPLES, 1.5)
    assert Blobs(place.store, LAYOUT.blobs).get(digest_of(GOOD)) == GOOD
    assert pod.completes(grant, GOOD).status_code == 410, "said twice, counted once"
    deadline = time.monotonic() + 20
    while list(place.store.list(LAYOUT.uploads)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list(place.store.list(LAYOUT.uploads)), "uploads are removed"


def test_a_poll_waits_for_a_task(place: Place) -> None:
    pod = place.client()
    grants: list[Any] = []
    thread = threading.Thread(target=lambda: grants.append(pod.leases(20)))
    thread.start()
    pending = place.submit()
    thread.join(10)
    assert grants[0]["task"]["id"] == pending.task.id
    place.fleet.cancel(pending)
    assert pod.says(f"leases/{grants[0]['lease']}/heartbeat").status_code == 410
    assert pod.leases(0) is None


def spoilt(value: float) -> bytes:
    vector = WEIGHTS.copy()
    vector[50] = value
    return encode(vector)


@pytest.mark.parametrize(
    ("data", "claimed", "reason"),
    [
        (spoilt(np.nan), None, "BadUpdate"),
        (spoilt(np.inf), None, "BadUpdate"),
        (GOOD, encode(WEIGHTS + 2), "BadUpdate"),
        (b"\xff" * len(GOOD), None, "BadUpdate"),
        ((2**60).to_bytes(8, "little") + GOOD[8:], None, "BadUpdate"),
        (b"", GOOD, "NothingUploaded"),
        (encode(WEIGHTS[:50]), None, "WrongSize"),
    ],
    ids=["nan", "infinity", "other digest", "no safetensors", "2^60 header", "nothing", "short"],
)
def test_a_bad_update_is_refused_with_a_reason_and_leased_again(
    place: Place, data: bytes, claimed: bytes | None, reason: str
) -> None:
    before = place.count("updates_rejected", reason=reason)
    pending = place.submit()
    bad, good = place.client(name="bad"), place.client(name="good")
    grant = bad.leases()
    if data:
        assert bad.uploads(grant, data) == 204
    assert bad.completes(grant, claimed or data).status_code == 200
    again = good.leases(20)
    assert again["task"] == grant["task"]
    assert again["lease"] != grant["lease"]
    assert place.count("updates_rejected", reason=reason) == before + 1
    assert good.uploads(again, GOOD) == 204
    assert good.completes(again, GOOD).status_code == 200
    assert pending.future.result(60).outputs == {"weights": digest_of(GOOD)}


def test_an_upload_beyond_its_size_is_refused_by_the_store(place: Place) -> None:
    place.submit()
    pod = place.client()
    assert pod.uploads(pod.leases(), GOOD + b"x") == 400


def test_a_client_that_never_sends_a_good_update_fails_its_task_and_is_benched(
    place: Place,
) -> None:
    pending = place.submit("phone-1")
    for name in ("a", "b", "c"):
        pod = place.client(name=name)
        pod.completes(pod.leases(), GOOD, weight=SAMPLES + 1)
    with pytest.raises(TaskFailed, match="WrongWeight: weighs 6, not 5"):
        pending.future.result(10)
    with pytest.raises(TaskFailed, match="phone-1 is benched"):
        place.submit("phone-1").future.result(0)


def test_a_program_restarted_in_place_frees_its_task_at_once(place: Place) -> None:
    place.submit()
    lost = place.client(name="same").leases()
    pod = place.client(name="same")
    grant = pod.leases(0)
    assert grant["task"] == lost["task"]
    assert pod.says(f"leases/{lost['lease']}/heartbeat").status_code == 410


def test_a_program_that_died_in_its_task_says_so_when_it_is_back(place: Place) -> None:
    before = place.count("tasks_failed", reason="DiedInTask")
    place.submit()
    grant = place.client(name="a").leases()
    pod = place.client(name="b")
    pod.says(
        "register",
        protocol=PROTOCOL,
        device_class="phone",
        name="a",
        unfinished=[grant["lease"], "f" * 32],
    )
    assert place.count("tasks_failed", reason="DiedInTask") == before + 1
    assert pod.leases()["task"] == grant["task"]


def test_a_task_given_back_goes_to_the_next(place: Place) -> None:
    place.submit()
    first, second = place.client(name="a"), place.client(name="b")
    grant = first.leases()
    fail = {"reason": "Abandoned", "message": "told to stop"}
    assert first.says(f"leases/{grant['lease']}/fail", **fail).status_code == 200
    assert second.leases()["task"] == grant["task"]
    assert first.says(f"leases/{grant['lease']}/fail", **fail).status_code == 410


# -- who may talk --------------------------------------------------------------------------------


def test_tokens_are_of_one_class(place: Place) -> None:
    phone, hub = place.client("phone"), place.client("hub")
    place.submit("hub-0")
    grant = hub.leases()
    assert phone.leases(0) is None
    assert phone.completes(grant, GOOD).status_code == 403
    assert phone.says(f"leases/{grant['lease']}/heartbeat", session=hub.session).status_code == 403
    assert phone.says("lease", session=hub.session).status_code == 403
    register = {"protocol": PROTOCOL, "device_class": "hub", "name": "x"}
    assert phone.says("register", **register).status_code == 403
    assert phone.http.get("/v1/status").status_code == 403


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic p-token", "p-token"])
def test_without_a_token_nothing_is_told(place: Place, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    assert httpx.get(f"{place.url}/v1/status", headers=headers).status_code == 401
    body = {"protocol": PROTOCOL, "device_class": "phone", "name": "x"}
    answer = httpx.post(f"{place.url}/v1/register", headers=headers, json=body)
    assert answer.status_code == 401
    assert answer.json()["reason"] == "Unauthorized"


def test_the_operator_reads_the_status(place: Place) -> None:
    answer = httpx.get(f"{place.url}/v1/status", headers={"Authorization": "Bearer o-token"})
    assert answer.json() == {"over": False}


def test_an_unknown_session_is_told_to_register(place: Place) -> None:
    pod = place.client()
    pod.session = "0" * 32
    answer = pod.says("lease")
    assert (answer.status_code, answer.json()["reason"]) == (409, "Unregistered")


def test_another_protocol_and_another_class_are_refused_in_words(place: Place) -> None:
    pod = place.client()
    newer = pod.says("register", protocol=PROTOCOL + 1, device_class="phone", name="x")
    assert newer.status_code == 426
    assert "same version of fednas" in newer.json()["message"]


# -- hostile requests ----------------------------------------------------------------------------


def test_oversized_bodies_are_refused(place: Place) -> None:
    pod, before = place.client(), place.count("requests_refused", reason="BodyTooLarge")

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 4096

    for body in (b" " * (MAX_BODY + 1), endless()):
        # The server closes before it has read everything, which may reset the connection.
        with contextlib.suppress(httpx.TransportError):
            answer = pod.http.post("/v1/lease", content=body)
            assert (answer.status_code, answer.json()["reason"]) == (413, "BodyTooLarge")
    assert place.count("requests_refused", reason="BodyTooLarge") == before + 2
    assert pod.leases(0) is None


def test_a_length_of_2_to_60_is_refused_before_anything_is_read(place: Place) -> None:
    host, port = place.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(
            b"POST /v1/lease HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer p-token\r\n"
            b"Content-Length: %d\r\n\r\n" % 2**60
        )
        assert b" 413 " in raw.recv(1000).split(b"\r\n")[0]


def test_malformed_messages_are_refused_and_named(place: Place) -> None:
    answer = place.client().says("lease", wait_seconds=1e9)
    assert answer.status_code == 422
    assert "wait_seconds" in answer.json()["message"]


def test_cloud_work_stays_in_the_cloud(place: Place) -> None:
    upload = LAYOUT.uploads + "x"
    place.store.put(upload, GOOD)
    params = {"upload": upload, "digest": digest_of(GOOD), "elements": 100}
    task = Task(id="x", kind="accept", client=CLOUD, params=params)
    pod = place.client()
    pending = place.fleet.submit(task)
    assert pod.leases(0) is None
    assert pending.future.result(60).outputs == {"update": digest_of(GOOD)}
    place.store.delete(upload)


def test_training_that_diverges_is_given_up_at_once(place: Place) -> None:
    pending, pod = place.submit(), place.client()
    grant = pod.leases()
    fail = {"reason": "TrainingDiverged", "message": "loss nan"}
    assert pod.says(f"leases/{grant['lease']}/fail", **fail).status_code == 200
    with pytest.raises(TrainingDiverged, match="loss nan"):
        pending.future.result(5)
    assert pod.leases(0) is None


def test_a_program_of_other_bits_waits_until_the_operator_passes_on_consent(place: Place) -> None:
    place.fleet.numerics.accept("a" * 64)
    ours, other = place.client(), place.client(name="b", numerics="b")
    place.submit()
    assert other.leases(0) is None
    assert [session.holder for session in place.fleet.strangers()] == ["phone/b"]
    assert other.http.post("/v1/accept-numerics", json={}).status_code == 403
    operator = {"Authorization": "Bearer o-token"}
    for _ in range(2):
        answer = httpx.post(f"{place.url}/v1/accept-numerics", headers=operator, json={})
        assert answer.status_code == 200
    assert place.fleet.strangers() == []
    assert other.leases() is not None
    assert ours.leases(0) is None


def test_metrics_count_without_naming_clients(place: Place) -> None:
    text = httpx.get(f"{place.url}/metrics").text
    assert 'fednas_client_programs{device_class="phone"}' in text
    assert "fednas_leases_total" in text
    assert "phone-0" not in text
    assert httpx.get(f"{place.url}/healthz").status_code == 200
    assert httpx.get(f"{place.url}/readyz").status_code == 200


def test_when_the_search_is_over_everybody_is_told(place: Place) -> None:
    pod = place.client()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(pod.says("lease").json()))
    thread.start()
    time.sleep(0.2)
    place.fleet.finish()
    thread.join(5)
    assert answers == [{"grant": None, "over": True}]
    place.fleet.over = False
