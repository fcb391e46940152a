"""The clients, the pods that serve them, and what runs beside them."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from fednas.spec._address import (
    BUCKET,
    BUCKET_RIGHT,
    ENDPOINT,
    ENDPOINT_RIGHT,
    METADATA,
    REGION,
    REGION_RIGHT,
    TRACKING,
    TRACKING_RIGHT,
    WRONG_BUCKET,
    is_bucket,
)
from fednas.spec._authorities import Authorities
from fednas.spec._base import Int, Model, Number, Rule, Text
from fednas.spec._bounds import Bound, Budget
from fednas.spec._network import MODULE_PATTERN, location_rule
from fednas.spec._pods import DNS_SUBDOMAIN, IMAGE, LABEL_KEY, LABEL_VALUE, PodTemplate
from fednas.spec._quantity import Cpu, Memory, quantity

__all__ = [
    "DNS_LABEL",
    "PATTERNS",
    "ComputeResources",
    "CoordinatorPod",
    "DeviceClass",
    "Federation",
    "ResourceList",
    "Storage",
    "Tracking",
]

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"

PATTERNS = {
    DNS_LABEL: "be of lower-case letters, digits and -, and neither start nor end with -",
    DNS_SUBDOMAIN: "be of lower-case letters, digits, - and ., as the name of a Secret",
    LABEL_KEY: "be the name of a label, like example.org/name",
    LABEL_VALUE: "be the value of a label: up to 63 letters, digits, _, - and .",
    IMAGE: "be the name of an image, like registry.example.org/own:1.0",
    ENDPOINT: ENDPOINT_RIGHT,
    BUCKET: BUCKET_RIGHT,
    REGION: REGION_RIGHT,
    TRACKING: TRACKING_RIGHT,
    MODULE_PATTERN: "be package.module:name",
}
"""Patterns in words: ``must ...``."""


class ResourceList(Model):
    """CPU and memory."""

    cpu: Cpu | None = Field(None, description="Cores: 500m, 2.")
    memory: Memory | None = Field(None, description="Bytes: 768Mi, 2Gi.")


def _request_within_limit(name: Literal["cpu", "memory"]) -> Rule:
    def holds(model: ComputeResources) -> bool:
        request, limit = getattr(model.requests, name, None), getattr(model.limits, name, None)
        return request is None or limit is None or quantity(request) <= quantity(limit)

    given = " || ".join(
        f"!has(self.{part}) || !has(self.{part}.{name})" for part in ("requests", "limits")
    )
    valid = " || ".join(
        f"!isQuantity(string(self.{part}.{name}))" for part in ("requests", "limits")
    )
    ordered = (
        f"quantity(string(self.requests.{name}))"
        f".compareTo(quantity(string(self.limits.{name}))) <= 0"
    )
    cel = f"{given} || {valid} || {ordered}"
    return Rule(holds, cel, f"must be at most limits.{name}", f"requests.{name}")


class ComputeResources(Model):
    """What a pod may use, as in a pod's own spec."""

    rules = (_request_within_limit("cpu"), _request_within_limit("memory"))

    limits: ResourceList | None = Field(
        None, description="What a pod may use at most, enforced by its cgroup."
    )
    requests: ResourceList | None = Field(
        None, description="What the scheduler sets aside for a pod."
    )


class DeviceClass(Model):
    """Clients of one kind of device."""

    rules = (
        Rule(
            lambda model: model.name != "coordinator",
            "self.name != 'coordinator'",
            "must not be coordinator, which names the coordinator's own pod",
            "name",
        ),
        location_rule("latencyTable", "a path or s3://bucket/key"),
        Rule(
            lambda model: (
                model.budget is None
                or model.budget.latency is None
                or model.latency_table is not None
            ),
            "!has(self.budget) || !has(self.budget.latency) || has(self.latencyTable)",
            "needs the latencyTable of this class: fednas measure-latency writes one",
            "budget.latency",
        ),
    )

    name: Text = Field(
        min_length=1,
        max_length=16,
        pattern=DNS_LABEL,
        description="Name of the class, unique; its clients are name-0, name-1, ...",
    )
    clients: Int = Field(ge=1, le=10000, description="Federated clients of this class.")
    pods: Int = Field(
        1,
        ge=0,
        le=1000,
        description="Pods that serve these clients, in turns; may change while the search runs.",
    )
    resources: ComputeResources = Field(
        ComputeResources(),
        description="Limits and requests of each of these pods. May change while the search is "
        "suspended.",
    )
    template: PodTemplate | None = Field(
        None,
        description="What is added to each of these pods. May change while the search is "
        "suspended. Unset: the chart's.",
    )
    budget: Budget | None = Field(
        None,
        description="What a device of this class can carry: the largest network within it is "
        "selected for the class. Unset: the search's target.",
    )
    latency_table: Text | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="What each layer takes on a device of this class, as fednas measure-latency "
        "writes it: a CSV file's path, or s3://bucket/key. Read once, when the search starts.",
    )

    @property
    def bound(self) -> Bound | None:
        """What its budget says; None for the search's target."""
        return self.budget.bound(self.name) if self.budget else None


class CoordinatorPod(Model):
    """The pod that runs the search."""

    resources: ComputeResources = Field(
        ComputeResources(), description="Limits and requests of the coordinator's pod."
    )
    template: PodTemplate | None = Field(
        None, description="What is added to the coordinator's pod. Unset: the chart's."
    )


class Federation(Model):
    """When a round is over."""

    quorum: Number = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of a round's clients whose updates suffice once the time is up.",
    )
    round_timeout_seconds: Int = Field(
        600,
        ge=1,
        le=86400,
        description="Seconds that a client may take for its task; "
        "when those still under way have had them, the round closes on its quorum.",
    )


def _no_metadata(field: str) -> Rule:
    def holds(model: Model) -> bool:
        return re.search(METADATA, getattr(model, field), re.IGNORECASE) is None

    cel = f"!self.{field}.matches(r'(?i){METADATA}')"
    right = (
        "must not be a link-local address, where clouds keep secrets, nor one of fewer than four "
        "numbers"
    )
    return Rule(holds, cel, right, field)


class Storage(Model):
    """The S3 bucket that holds data, weights and the journal."""

    rules = (
        Rule(
            lambda model: is_bucket(model.bucket),
            f"!self.bucket.matches(r'{WRONG_BUCKET}')",
            f"must {BUCKET_RIGHT}",
            "bucket",
        ),
        _no_metadata("endpoint"),
    )

    endpoint: Text = Field(
        max_length=512,
        pattern=ENDPOINT,
        description="Address of the S3 server: http://minio:9000.",
    )
    bucket: Text = Field(
        min_length=3, max_length=63, pattern=BUCKET, description="Name of the bucket."
    )
    secret_name: Text = Field(
        min_length=1,
        max_length=253,
        pattern=DNS_SUBDOMAIN,
        description="Secret in the search's namespace with the bucket's credentials: "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if they are temporary, AWS_SESSION_TOKEN.",
    )
    region: Text | None = Field(
        None, max_length=63, pattern=REGION, description="Of the server. Unset: us-east-1."
    )
    ca: Authorities | None = Field(
        None,
        description="The authorities that sign the server's certificate. Unset: the public ones.",
    )


NO_FILE_IN_POD = (
    "must be the address of an MLflow server, such as http://mlflow:5000: "
    "a file in a pod would go with it"
)
"""Refused by the API server and the operator; a coordinator elsewhere may write a file."""


class Tracking(Model):
    """The MLflow server that shows metrics and decisions."""

    rules = (
        _no_metadata("uri"),
        Rule(lambda _: True, "!self.uri.startsWith('sqlite:')", NO_FILE_IN_POD, "uri"),
    )

    uri: Text = Field(
        max_length=512,
        pattern=TRACKING,
        description="Address of the MLflow server: http://mlflow:5000. Outside a cluster also "
        "sqlite:///path.",
    )
    experiment: Text = Field(
        "fednas", min_length=1, max_length=256, description="The experiment that gets the run."
    )
    secret_name: Text | None = Field(
        None,
        min_length=1,
        max_length=253,
        pattern=DNS_SUBDOMAIN,
        description="Secret in the search's namespace whose keys become environment variables of "
        "the coordinator: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN.",
    )
    ca: Authorities | None = Field(
        None,
        description="The authorities that sign the server's certificate. Unset: the public ones.",
    )

    @property
    def problem_in_pod(self) -> str:
        """Why a coordinator in a pod cannot use it: ``must ...``; empty if it can."""
        return NO_FILE_IN_POD if self.uri.startswith("sqlite:") else ""
