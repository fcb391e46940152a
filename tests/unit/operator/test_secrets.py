"""What is made once stays as it is, whoever else makes it and however often the operator starts."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from fednas_operator.cluster import ApiError, Cluster
from fednas_operator.secrets import master_key, own_namespace, store_credentials
from tests.unit.operator.cluster import FakeApi, Fault, Object, Request


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(lambda kind, event, item: None)


def key_of(api: FakeApi) -> str:
    return asyncio.run(master_key(Cluster(api), "fednas", "key"))


def secret(data: dict[str, str]) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"namespace": "fednas", "name": "key"}, "data": encoded}


def test_a_master_key_is_made_at_the_first_start_and_read_at_every_other(api: FakeApi) -> None:
    first = key_of(api)
    assert len(first) >= 48
    assert key_of(api) == first
    assert [request.verb for request in api.requests] == ["GET", "POST", "GET", "GET"]


def test_two_installations_make_two_keys(api: FakeApi) -> None:
    first = key_of(api)
    api.objects.clear()
    assert key_of(api) != first


def test_a_key_that_is_there_is_never_overwritten(api: FakeApi) -> None:
    api.put(secret({"key": "that of a former chart\n"}))
    assert key_of(api) == "that of a former chart"
    assert [request.verb for request in api.requests] == ["GET"]


def test_of_two_operators_that_start_at_once_the_second_takes_the_first_ones_key(
    api: FakeApi,
) -> None:
    def another_is_faster(request: Request) -> Fault | None:
        if request.verb == "POST":
            api.put(secret({"key": "that of the other operator"}))
        return None

    api.fault = another_is_faster
    assert key_of(api) == "that of the other operator"


def test_a_secret_without_a_key_ends_the_operator_rather_than_making_another(api: FakeApi) -> None:
    api.put(secret({"kye": "misspelt"}))
    with pytest.raises(ValueError, match="Secret fednas/key has no 'key'"):
        key_of(api)


def test_a_refusal_is_told(api: FakeApi) -> None:
    api.fault = lambda request: Fault(403, "Forbidden", "no rights")
    with pytest.raises(ApiError, match="Forbidden: no rights"):
        key_of(api)


def test_credentials_of_the_store_are_made_without_being_read(api: FakeApi) -> None:
    for _ in range(2):
        asyncio.run(store_credentials(Cluster(api), "fednas", "minio", "fednas"))
    assert [str(request) for request in api.requests] == 2 * ["POST Secret minio"]
    (made,) = api.objects.values()
    assert base64.b64decode(made["data"]["AWS_ACCESS_KEY_ID"]) == b"fednas"
    assert len(base64.b64decode(made["data"]["AWS_SECRET_ACCESS_KEY"])) >= 32


def test_outside_a_pod_a_file_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--master-key FILE"):
        own_namespace(tmp_path / "namespace")
