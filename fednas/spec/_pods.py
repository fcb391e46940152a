"""What a search may say of its pods: a whitelist of a pod's own spec, by the names used there.

No volume, host network, privilege or service account: whoever may create a search gains no more by
its pods than their image, where they run, and under which ids.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from fednas.spec._base import Int, Model, Rule, Text

__all__ = [
    "DNS_SUBDOMAIN",
    "IMAGE",
    "LABEL_KEY",
    "LABEL_VALUE",
    "Affinity",
    "NodeAffinity",
    "NodeSelector",
    "NodeSelectorTerm",
    "PodAffinity",
    "PodAffinityTerm",
    "PodIds",
    "PodSelector",
    "PodTemplate",
    "PreferredNodes",
    "PreferredPods",
    "Requirement",
    "SecretReference",
    "Toleration",
    "TopologySpread",
]

DNS_SUBDOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
_PART = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LABEL_KEY = rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_PART}$"
LABEL_VALUE = f"^({_PART})?$"
IMAGE = (
    r"^([a-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/)?[a-z0-9][a-z0-9._/-]*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)

_RESERVED = ("fednas.dev/", "app.kubernetes.io/")
_UNCONFINED = (
    "fednas.dev/",
    "container.apparmor.security.beta.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
)


def _map(value: dict[str, Any], most: int, reserved: tuple[str, ...] = ()) -> list[Any]:
    """The annotations of a mapping of label keys to texts.

    The API server cannot match keys by a pattern, for their length has no bound in a schema; it
    checks their size and the reserved prefixes, and the pattern is checked where the file is read.
    """
    kept = f", and none under {', '.join(reserved)}" if reserved else ""
    wanted = f"must have names like example.org/name of at most 317 characters{kept}"

    def check(found: dict[str, str]) -> dict[str, str]:
        if all(re.fullmatch(LABEL_KEY, key) and not key.startswith(reserved) for key in found):
            return found
        raise PydanticCustomError("rule", "{message}", {"message": wanted})

    tests = ["size(k) <= 317", *(f"!k.startsWith('{prefix}')" for prefix in reserved)]
    schema = {
        "type": "object",
        "maxProperties": most,
        "additionalProperties": {"type": "string", **value},
        "x-kubernetes-validations": [
            {"rule": f"self.all(k, {' && '.join(tests)})", "message": wanted}
        ],
    }
    return [AfterValidator(check), WithJsonSchema(schema), Field(max_length=most)]


_LabelValue = Annotated[Text, Field(max_length=63, pattern=LABEL_VALUE)]
_LabelKey = Annotated[Text, Field(min_length=1, max_length=317, pattern=LABEL_KEY)]
_Name = Annotated[Text, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
_LABEL: dict[str, Any] = {"maxLength": 63, "pattern": LABEL_VALUE}
_Selected = Annotated[dict[str, _LabelValue], *_map(_LABEL, 16)]
_Labels = Annotated[dict[str, _LabelValue], *_map(_LABEL, 32, _RESERVED)]
_Annotations = Annotated[
    dict[str, Annotated[Text, Field(max_length=1024)]],
    *_map({"maxLength": 1024}, 32, _UNCONFINED),
]


class Requirement(Model):
    """A condition on one label."""

    rules = (
        Rule(
            lambda model: (model.operator in ("In", "NotIn")) == bool(model.values),
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "must be given with In and NotIn, and with these alone",
            "values",
        ),
    )

    key: _LabelKey = Field(description="Of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="In, NotIn, Exists or DoesNotExist."
    )
    values: tuple[_LabelValue, ...] | None = Field(
        None, max_length=16, description="One of which the label has; for In and NotIn."
    )


class NodeSelectorTerm(Model):
    """Nodes that meet every one of these."""

    match_expressions: tuple[Requirement, ...] = Field(
        min_length=1, max_length=8, description="Conditions on the node's labels."
    )


class NodeSelector(Model):
    """Nodes that meet one of these terms."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = Field(
        min_length=1, max_length=8, description="Any one suffices."
    )


class PreferredNodes(Model):
    """Nodes that are better than others."""

    weight: Int = Field(ge=1, le=100, description="What meeting the preference adds.")
    preference: NodeSelectorTerm = Field(description="Which nodes.")


class NodeAffinity(Model):
    """On which nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="On no others."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodes, ...] | None = Field(
        None, max_length=8, description="Rather than on others."
    )


class PodSelector(Model):
    """Pods of the search's namespace by their labels."""

    match_labels: _Selected | None = Field(None, description="Labels that they have.")
    match_expressions: tuple[Requirement, ...] | None = Field(
        None, max_length=8, description="Conditions on their labels."
    )


class PodAffinityTerm(Model):
    """A place where such pods are."""

    label_selector: PodSelector = Field(description="Which pods of the search's namespace.")
    topology_key: _LabelKey = Field(
        description="Label of a node that names the place: kubernetes.io/hostname."
    )


class PreferredPods(Model):
    """Places that are better than others."""

    weight: Int = Field(ge=1, le=100, description="What meeting the preference adds.")
    pod_affinity_term: PodAffinityTerm = Field(description="Which places.")


class PodAffinity(Model):
    """Beside which pods, or not beside them."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] | None = Field(
        None, max_length=8, description="Nowhere else."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredPods, ...] | None = Field(
        None, max_length=8, description="Rather than elsewhere."
    )


class Affinity(Model):
    """Where the pods are put, as in a pod's own spec."""

    node_affinity: NodeAffinity | None = Field(None, description="By the labels of nodes.")
    pod_affinity: PodAffinity | None = Field(None, description="Beside which pods.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Not beside which pods.")


class Toleration(Model):
    """A taint that does not keep the pods away."""

    rules = (
        Rule(
            lambda model: model.operator == "Equal" or model.value is None,
            "self.operator == 'Equal' || !has(self.value)",
            "must be unset with the operator Exists",
            "value",
        ),
        Rule(
            lambda model: model.operator == "Exists" or model.key is not None,
            "self.operator == 'Exists' || has(self.key)",
            "must be Exists where no key is given",
            "operator",
        ),
        Rule(
            lambda model: model.toleration_seconds is None or model.effect == "NoExecute",
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "must be NoExecute with tolerationSeconds",
            "effect",
        ),
    )

    key: _LabelKey | None = Field(None, description="Of the taint. Unset: every one.")
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="Equal: the taint has this value; Exists: it has any."
    )
    value: _LabelValue | None = Field(None, description="Of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Of the taint. Unset: every one."
    )
    toleration_seconds: Int | None = Field(
        None, ge=0, le=86400, description="How long NoExecute is borne. Unset: for ever."
    )


class TopologySpread(Model):
    """How evenly the pods of one class are spread."""

    max_skew: Int = Field(
        1, ge=1, le=1000, description="How many more pods one place may have than another."
    )
    topology_key: _LabelKey = Field(
        description="Label of a node that names the place: topology.kubernetes.io/zone."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        "ScheduleAnyway", description="Where that cannot be: wait, or put it where it goes."
    )


class SecretReference(Model):
    """A Secret of the search's namespace."""

    name: _Name = Field(description="Of the Secret.")


class PodIds(Model):
    """Under which ids a pod runs; one that is left out is the cluster's to choose."""

    run_as_user: Int | None = Field(
        None, ge=1, le=2**31 - 1, description="User id; never 0. Unset: the cluster's choice."
    )
    run_as_group: Int | None = Field(
        None, ge=0, le=2**31 - 1, description="Group id. Unset: the cluster's choice."
    )
    fs_group: Int | None = Field(
        None, ge=0, le=2**31 - 1, description="Group of its volumes. Unset: the cluster's choice."
    )


class PodTemplate(Model):
    """What is added to the pods. A field that is left out is the chart's."""

    labels: _Labels | None = Field(
        None, description="Labels of the pods; none of fednas.dev/ and app.kubernetes.io/."
    )
    annotations: _Annotations | None = Field(None, description="Annotations of the pods.")
    image: Text | None = Field(
        None,
        min_length=1,
        max_length=512,
        pattern=IMAGE,
        description="Image made from the runtime's. Unset: the chart's.",
    )
    image_pull_secrets: tuple[SecretReference, ...] | None = Field(
        None,
        max_length=8,
        description="Secrets of the search's namespace by which images are pulled, "
        "beside the chart's.",
    )
    node_selector: _Selected | None = Field(
        None, description="Labels of the nodes that the pods may run on."
    )
    tolerations: tuple[Toleration, ...] | None = Field(
        None, max_length=16, description="Taints that do not keep the pods away."
    )
    affinity: Affinity | None = Field(None, description="Where the pods are put.")
    topology_spread_constraints: tuple[TopologySpread, ...] | None = Field(
        None, max_length=4, description="How the pods of a class are spread over places."
    )
    priority_class_name: _Name | None = Field(
        None, description="PriorityClass of the pods: who gives way to whom."
    )
    security_context: PodIds | None = Field(
        None,
        description="User and group ids of the pods. {} leaves them to the cluster, as OpenShift "
        "wants it. Unset: the chart's.",
    )

    rules = (
        Rule(
            lambda model: not (model.priority_class_name or "").startswith("system-"),
            "!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
            "must not be one of the cluster's own, before which every other pod gives way",
            "priorityClassName",
        ),
    )

    def over(self, default: PodTemplate) -> PodTemplate:
        """With the fields of another where this one has none, each as a whole."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return default.model_copy(update=given)
