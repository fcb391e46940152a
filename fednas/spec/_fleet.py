"""The clients, the pods that serve them, and what runs beside them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fednas.spec._address import (
    BUCKET,
    BUCKET_RIGHT,
    ENDPOINT,
    ENDPOINT_RIGHT,
    TRACKING,
    TRACKING_RIGHT,
    WRONG_BUCKET,
    is_bucket,
)
from fednas.spec._base import Int, Model, Number, Rule, Text
from fednas.spec._bounds import Bound, Budget
from fednas.spec._network import MODULE_PATTERN, location_rule
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
_DNS_SUBDOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"

PATTERNS = {
    DNS_LABEL: "be of lower-case letters, digits and -, and neither start nor end with -",
    _DNS_SUBDOMAIN: "be of lower-case letters, digits, - and ., as the name of a Secret",
    ENDPOINT: ENDPOINT_RIGHT,
    BUCKET: BUCKET_RIGHT,
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
        ComputeResources(), description="Limits and requests of each of these pods."
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


class Storage(Model):
    """The S3 bucket that holds data, weights and the journal."""

    rules = (
        Rule(
            lambda model: is_bucket(model.bucket),
            f"!self.bucket.matches(r'{WRONG_BUCKET}')",
            f"must {BUCKET_RIGHT}",
            "bucket",
        ),
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
        pattern=_DNS_SUBDOMAIN,
        description="Secret in the search's namespace with the bucket's credentials.",
    )


class Tracking(Model):
    """The MLflow server that shows metrics and decisions."""

    uri: Text = Field(
        max_length=512,
        pattern=TRACKING,
        description="Address of the MLflow server: http://mlflow:5000, or sqlite:///path.",
    )
    experiment: Text = Field(
        "fednas", min_length=1, max_length=256, description="The experiment that gets the run."
    )
