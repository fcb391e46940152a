"""The status of a search: bounded, a view of its journal and of its pods.

The coordinator fills all but ``conditions``, ``observedGeneration`` and ``pods``, which are the
operator's. Fractions are text, as Kubernetes advises for status.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from fednas.spec._base import Int, Model, Text

__all__ = [
    "BestRung",
    "CandidateCounts",
    "ClientCounts",
    "Condition",
    "CostStatus",
    "Display",
    "Phase",
    "PodCounts",
    "PrivacyStatus",
    "RungStatus",
    "SearchStatus",
    "SelectedRung",
]

_MAX = 2**53 - 1

Phase = Literal[
    "Pending", "Initializing", "Searching", "FinalTraining", "Complete", "Failed", "Suspended"
]
_Count = Annotated[Int, Field(ge=0, le=_MAX)]
_Short = Annotated[Text, Field(max_length=32)]
_Sha256 = Annotated[Text, Field(max_length=64, pattern="^[0-9a-f]{64}$")]
_TIME: dict[str, JsonValue] = {"format": "date-time"}


class CandidateCounts(Model):
    """Candidates of the search so far."""

    active: _Count = Field(0, description="Candidates in training now.")
    dropped: _Count = Field(0, description="Candidates dropped early, or never trained.")
    failed: _Count = Field(0, description="Candidates whose rounds missed their quorum.")


class ClientCounts(Model):
    """Federated clients."""

    available: _Count = Field(0, description="Clients that a registered pod serves.")
    total: _Count = Field(0, description="Clients of all device classes.")


class PodCounts(Model):
    """Pods of the search."""

    ready: _Count = Field(0, description="Client pods that are ready.")
    desired: _Count = Field(0, description="Client pods that should be.")


class BestRung(Model):
    """The newest network of the ladder."""

    rung: _Count = Field(description="Its rung.")
    accuracy: _Short = Field(description="Its accuracy, 0 to 1.")
    share: _Short = Field(description="Its share of the start's cost in the target's resource.")


class RungStatus(Model):
    """One network of the ladder."""

    rung: _Count = Field(description="0 is the start; each next one is smaller.")
    accuracy: _Short = Field(description="Accuracy, 0 to 1.")
    macs: _Count = Field(description="Multiply-accumulates of one forward pass.")
    params: _Count = Field(description="Parameters.")
    share: _Short | None = Field(
        None, description="Its share of the start's cost in the target's resource."
    )
    sha256: _Sha256 = Field(description="Digest of the weights.")


class SelectedRung(Model):
    """The network for one device class."""

    device_class: _Short = Field(description="Name of the class.")
    rung: _Count = Field(
        description="The rung within its budget that does best on the validation samples."
    )


class CostStatus(Model):
    """What the clients paid, counted from the updates that entered an aggregate."""

    client_macs: _Count = Field(0, description="Multiply-accumulates of the mean client.")
    client_bytes: _Count = Field(0, description="Bytes down and up of the mean client.")
    times_cheaper_than_naive: _Short | None = Field(
        None, description="Against every client training every candidate in every round."
    )


class PrivacyStatus(Model):
    """What has been spent of the promise to the clients."""

    epsilon: _Short = Field(
        description="Spent, at delta, by the client in the most releases; lost ones count."
    )
    delta: _Short = Field(description="Chance that epsilon does not hold.")
    budget: _Short = Field(description="What epsilon never exceeds.")


class Display(Model):
    """Texts for the columns of kubectl get."""

    iteration: _Short | None = Field(None, description="Iteration of at most: 7/20.")
    target: _Short | None = Field(None, description="What the target counts: macs, latency.phone.")
    share: _Short | None = Field(
        None, description="Share of what the target counts, and the target: 0.61>0.35."
    )
    clients: _Short | None = Field(None, description="Clients available of all: 80/80.")
    reason: _Short | None = Field(
        None, description="Of the most telling condition: OOMKilled, Searching, Completed."
    )
    cheaper: _Short | None = Field(None, description="Times cheaper than naive: 37x.")


class Condition(Model):
    """One aspect of the state, as in metav1.Condition."""

    type: Text = Field(
        min_length=1,
        max_length=64,
        description="Accepted, Progressing, Degraded, Suspended, Complete, Failed or Tracked; "
        "Ready, Reconciling or Stalled, which sum them up.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: _Count | None = Field(
        None, description="The generation of the spec that it speaks of."
    )
    last_transition_time: Text = Field(
        max_length=40, description="When status last changed.", json_schema_extra=_TIME
    )
    reason: Text = Field(
        min_length=1,
        max_length=128,
        pattern="^[A-Za-z][A-Za-z0-9]*$",
        description="Why, in one CamelCase word.",
    )
    message: Text = Field("", max_length=512, description="What happened, and what to do about it.")


class SearchStatus(Model):
    """What the search has come to."""

    observed_generation: _Count | None = Field(
        None, description="The generation of the spec that the status speaks of."
    )
    phase: Phase | None = Field(None, description="Where the search is, for people.")
    conditions: tuple[Condition, ...] | None = Field(
        None,
        max_length=16,
        description="Where the search is, for programs.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    start_time: Text | None = Field(
        None,
        max_length=40,
        description="When the search started; from then on its spec is fixed.",
        json_schema_extra=_TIME,
    )
    iteration: _Count | None = Field(None, description="The iteration under way.")
    rounds: _Count | None = Field(None, description="Rounds that were aggregated.")
    candidates: CandidateCounts | None = Field(None, description="Candidates so far.")
    clients: ClientCounts | None = Field(None, description="Federated clients.")
    pods: PodCounts | None = Field(None, description="Client pods.")
    result_uri: Text | None = Field(
        None, alias="resultURI", max_length=1024, description="Where the ladder lies."
    )
    best: BestRung | None = Field(
        None, description="The newest network of the ladder: the smallest so far."
    )
    ladder: tuple[RungStatus, ...] | None = Field(
        None, max_length=32, description="The last 32 networks of the ladder."
    )
    selected: tuple[SelectedRung, ...] | None = Field(
        None, max_length=32, description="The network for each device class."
    )
    cost: CostStatus | None = Field(None, description="What the clients paid.")
    privacy: PrivacyStatus | None = Field(
        None, description="What has been spent of the privacy of clients, where it is promised."
    )
    display: Display | None = Field(None, description="Texts for the columns of kubectl get.")
    tracking_run_id: Text | None = Field(
        None, alias="trackingRunID", max_length=64, description="The run in MLflow."
    )
