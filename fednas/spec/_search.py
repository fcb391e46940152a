"""The resource as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic_core import InitErrorDetails

from fednas.spec._base import Int, Model, OneOf, Rule, Text, fields_by_alias, model_of, problem
from fednas.spec._bounds import Bound, Target
from fednas.spec._data import Data
from fednas.spec._fleet import (
    DNS_LABEL,
    CoordinatorPod,
    DeviceClass,
    Federation,
    Storage,
    Tracking,
)
from fednas.spec._network import Network
from fednas.spec._privacy import DEFAULT_PRIVACY, Privacy
from fednas.spec._strategy import DEFAULT_STRATEGY, Strategy
from fednas.spec._training import Distillation, FinalTraining, Training

__all__ = ["API_VERSION", "KIND", "Client", "FederatedSearch", "Metadata", "SearchSpec", "clients"]

API_VERSION = "fednas.dev/v1alpha1"
KIND = "FederatedSearch"
MAX_CLIENTS = 10000

_TOTAL = "self.deviceClasses.map(c, c.clients).sum()"
_AT_MOST_CLIENTS = "must be at most the number of clients of all deviceClasses"


def _total(spec: SearchSpec) -> int:
    return sum(device_class.clients for device_class in spec.device_classes)


def _groups_fit(strategies: type[OneOf]) -> Iterator[Rule]:
    """A rule for each strategy that splits the clients into groups."""
    for alias, (name, info) in fields_by_alias(strategies).items():
        settings = model_of(info.annotation)
        if settings is not None and "client_groups" in settings.model_fields:
            path = f"strategy.{alias}.clientGroups"
            yield Rule(
                partial(_fits, name),
                f"!has(self.strategy.{alias}) || !has(self.{path}) || self.{path} <= {_TOTAL}",
                _AT_MOST_CLIENTS,
                path,
            )


def _fits(strategy: str, spec: SearchSpec) -> bool:
    groups = getattr(getattr(spec.strategy, strategy), "client_groups", None)
    return groups is None or groups <= _total(spec)


def _rounds_fit(spec: SearchSpec) -> bool:
    training = spec.model.initial.training
    return training is None or training.clients_per_round <= _total(spec)


def _final_rounds_fit(spec: SearchSpec) -> bool:
    return spec.final_training is None or spec.final_training.clients_per_round <= _total(spec)


def _target_is_measured(spec: SearchSpec) -> bool:
    latency = spec.target.latency
    return latency is None or any(
        device_class.name == latency.device_class and device_class.latency_table is not None
        for device_class in spec.device_classes
    )


_RULES = (
    Rule(
        lambda spec: _total(spec) <= MAX_CLIENTS,
        f"{_TOTAL} <= {MAX_CLIENTS}",
        f"must have at most {MAX_CLIENTS} clients in all",
        "deviceClasses",
    ),
    *_groups_fit(Strategy),
    Rule(
        _rounds_fit,
        "!has(self.model.initial.training)"
        f" || self.model.initial.training.clientsPerRound <= {_TOTAL}",
        _AT_MOST_CLIENTS,
        "model.initial.training.clientsPerRound",
    ),
    Rule(
        _final_rounds_fit,
        f"!has(self.finalTraining) || self.finalTraining.clientsPerRound <= {_TOTAL}",
        _AT_MOST_CLIENTS,
        "finalTraining.clientsPerRound",
    ),
    Rule(
        _target_is_measured,
        "!has(self.target.latency) || self.deviceClasses.exists(c, "
        "c.name == self.target.latency.deviceClass && has(c.latencyTable))",
        "must be a class in deviceClasses that has a latencyTable",
        "target.latency.deviceClass",
    ),
)


class SearchSpec(Model):
    """What to search, on which data, with which clients."""

    rules = _RULES

    seed: Int = Field(
        0, ge=0, le=2**31 - 1, description="Every random choice of the search derives from it."
    )
    model: Network = Field(description="The network that the search starts from.")
    data: Data = Field(description="The data set, and how it is split over the clients.")
    objective: Literal["classification"] = Field(
        "classification",
        description="What is learnt and how it is scored: classification (cross-entropy, "
        "accuracy).",
    )
    target: Target = Field(description="The budget: the search ends when a network meets it.")
    strategy: Strategy = Field(DEFAULT_STRATEGY, description="How the search goes. Exactly one.")
    refit: bool = Field(
        True,
        strict=True,
        description="After a cut, the layers that read what was cut are fitted by least squares to "
        "give what they gave before, on a part of the validation images; it needs no client.",
    )
    baseline: Literal["uniform", "none"] = Field(
        "uniform",
        description="What each rung is compared with: uniform, the start thinned alike in every "
        "layer to as much of the target's resource, cut and evaluated without any client; or none.",
    )
    training: Training = Field(
        Training(), description="The short-term training of a candidate on one client."
    )
    distillation: Distillation | None = Field(
        None,
        description="After the search the networks that are used learn the starting network's "
        "answers to the validation images, without labels and without any client. That is before "
        "the final training; after it the smaller ones learn those of the largest. Unset: none.",
    )
    final_training: FinalTraining | None = Field(
        None, description="The training of the networks that are used. Unset: none."
    )
    privacy: Privacy = Field(DEFAULT_PRIVACY, description="What clients are promised. Exactly one.")
    device_classes: tuple[DeviceClass, ...] = Field(
        min_length=1,
        max_length=32,
        description="The clients, by kind of device.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    coordinator: CoordinatorPod = Field(
        CoordinatorPod(),
        description="The pod that runs the search. May change while the search is suspended.",
    )
    federation: Federation = Field(Federation(), description="When a round is over.")
    storage: Storage | None = Field(
        None,
        description="The S3 bucket that holds data, weights and the journal. Unset: the chart's. "
        "May change while the search is suspended. Not used by fednas run.",
    )
    tracking: Tracking | None = Field(
        None,
        description="The MLflow server that shows metrics and decisions. Unset: the chart's. "
        "May change while the search is suspended. Not used by fednas run.",
    )
    suspend: bool = Field(
        False,
        strict=True,
        description="Stops the search and its pods; false again, and it goes on from there.",
    )
    active_deadline_seconds: Int | None = Field(
        None,
        ge=1,
        le=2**31 - 1,
        description="Seconds that the search may run, from its start or from when it was last "
        "resumed, as of a Job; then it ends as failed. May change at any time. Unset: for ever. "
        "Not used by fednas run.",
    )
    ttl_seconds_after_finished: Int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="Seconds from the search's end until its resource is deleted, as of a Job; "
        "what it left in the bucket stays. May change at any time. Unset: never deleted. "
        "Not used by fednas run.",
    )
    accept_new_numerics: bool = Field(
        False,
        strict=True,
        description="Goes on though torch or the processor computes other bits than the search "
        "began with; may change while the search runs.",
    )

    @classmethod
    def _check_rules(cls, model: Any) -> list[InitErrorDetails]:
        lines = super()._check_rules(model)
        names: list[str] = []
        for i, device_class in enumerate(getattr(model, "device_classes", ())):
            if device_class.name in names:
                first = names.index(device_class.name)
                message = f"must be unique; spec.deviceClasses[{first}] has the same name"
                lines.append(problem(message, ("deviceClasses", i, "name"), device_class.name))
            names.append(device_class.name)
        return lines

    @property
    def goes_on(self) -> bool:
        """Whether the networks that are used change after the search."""
        return self.distillation is not None or self.final_training is not None

    def warnings(self) -> list[str]:
        """What is allowed but hardly meant, one line each, with what would do."""
        target = self.target.bound
        found = []
        if target.share is not None:
            found = [f"spec.strategy.{line}" for line in self.strategy.warnings(target.share)]
        private = self.privacy.client_level
        if private is not None and private.delta * _total(self) >= 1:
            found.append(
                f"spec.privacy.clientLevel.delta: {private.delta:g} allows to give away a whole "
                f"client; with {_total(self)} of them less than {1 / _total(self):g} would do"
            )
        for i, device_class in enumerate(self.device_classes):
            most = device_class.bound
            if most is not None and _below(most, target):
                (path, least), (_, wanted) = most.written, target.written
                found.append(
                    f"spec.deviceClasses[{i}].budget.{path}: {least:g} is below "
                    f"spec.target.{path} {wanted:g}: no network for {device_class.name} may "
                    f"come out; a target of at most {least:g} would do"
                )
        return found


def _below(budget: Bound, target: Bound) -> bool:
    """Whether no network that just meets the target is within the budget, as far as both tell."""
    if budget.resource != target.resource:
        return False
    if budget.share is not None and target.share is not None:
        return budget.share < target.share
    if budget.amount is not None and target.amount is not None:
        return budget.amount < target.amount
    return False  # one is a share of what is not known yet


class Metadata(Model):
    """What names the resource. Whatever else Kubernetes writes here is left alone."""

    model_config = ConfigDict(extra="ignore")

    name: Text = Field(
        min_length=1, max_length=63, pattern=DNS_LABEL, description="Name of the search."
    )
    namespace: Text | None = Field(
        None, min_length=1, max_length=63, pattern=DNS_LABEL, description="Its namespace."
    )
    labels: dict[str, str] | None = Field(None, max_length=64, description="Labels.")
    annotations: dict[str, str] | None = Field(None, max_length=64, description="Annotations.")


class FederatedSearch(Model):
    """A federated neural architecture search: one file for a laptop and for a cluster."""

    api_version: Literal["fednas.dev/v1alpha1"] = Field(description="fednas.dev/v1alpha1.")
    kind: Literal["FederatedSearch"] = Field(description="FederatedSearch.")
    metadata: Metadata = Field(description="What names the resource.")
    spec: SearchSpec = Field(description="What to search, on which data, with which clients.")

    def to_dict(self) -> dict[str, Any]:
        """JSON values in camelCase, defaults filled in, unset fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class Client:
    """One federated client."""

    name: str
    device_class: str


def clients(search: FederatedSearch) -> list[Client]:
    """Every client in the order of the classes: ``phone-0``, ``phone-1``, ..., ``hub-0``, ..."""
    return [
        Client(f"{device_class.name}-{i}", device_class.name)
        for device_class in search.spec.device_classes
        for i in range(device_class.clients)
    ]
