"""Which servers a search may name."""

from __future__ import annotations

from typing import Any

import pytest

from fednas_operator.accept import Refused, accept
from fednas_operator.actions import WriteStatus
from fednas_operator.plan import plan
from tests.unit.operator.simulation import SETTINGS, Simulation

ALLOWED = ("https://*.example.org", "http://minio.storage.svc:9000")


def naming(resource: dict[str, Any], endpoint: str) -> dict[str, Any]:
    storage = {"endpoint": endpoint, "bucket": "other", "secretName": "other"}
    return {**resource, "spec": {**resource["spec"], "storage": storage}}


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.example.org",
        "https://S3.eu.Example.org/",
        "http://minio.storage.svc:9000",
        "http://fednas-minio.fednas.svc:9000",  # the chart's default
    ],
)
def test_a_search_may_name_the_default_store_and_those_that_are_allowed(
    resource: dict[str, Any], endpoint: str
) -> None:
    search = accept(naming(resource, endpoint), SETTINGS.defaults, ALLOWED)
    assert search.spec.storage is not None
    assert search.spec.storage.endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://s3.example.org",
        "https://s3.example.org:6443",
        "https://example.org",
        "https://s3.example.org.evil.org",
        "http://minio.storage.svc:9001",
        "https://kubernetes.default.svc",
    ],
)
def test_no_other_store_is_asked(resource: dict[str, Any], endpoint: str) -> None:
    with pytest.raises(Refused, match=r"^EndpointNotAllowed: spec\.storage\.endpoint: "):
        accept(naming(resource, endpoint), SETTINGS.defaults, ALLOWED)
    assert accept(naming(resource, endpoint), SETTINGS.defaults)


def test_a_tracking_server_is_held_to_the_same_list_whatever_its_path(
    resource: dict[str, Any],
) -> None:
    resource["spec"]["tracking"] = {"uri": "https://mlflow.example.org/team/a"}
    assert accept(resource, SETTINGS.defaults, ALLOWED)
    resource["spec"]["tracking"] = {"uri": "http://fednas-operator.fednas.svc:8081/healthz"}
    with pytest.raises(Refused, match=r"^EndpointNotAllowed: spec\.tracking\.uri: "):
        accept(resource, SETTINGS.defaults, ALLOWED)


def test_a_search_of_a_forbidden_server_is_told_so_and_gets_no_pods(
    resource: dict[str, Any],
) -> None:
    settings = SETTINGS.model_copy(update={"allowed_endpoints": ALLOWED})
    world = Simulation(naming(resource, "https://kubernetes.default.svc")).world
    (write,) = plan(world, settings)
    assert isinstance(write, WriteStatus)
    accepted = write.status["conditions"][0]
    assert (accepted["type"], accepted["status"]) == ("Accepted", "False")
    assert accepted["reason"] == "EndpointNotAllowed"
