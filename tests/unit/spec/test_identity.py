"""What determines a search's result, and how two specs differ."""

from __future__ import annotations

import pytest

from fednas.spec import differences, identity, identity_digest, load_spec

from .test_load import SMALLEST

STORAGE = "storage={endpoint: 'http://minio:9000', bucket: fednas, secretName: minio}"


@pytest.mark.parametrize(
    "override",
    [
        "suspend=true",
        "acceptNewNumerics=true",
        STORAGE,
        "tracking.uri=http://mlflow:5000",
        "deviceClasses.phone.pods=9",
        "deviceClasses.phone.resources.limits.cpu=500m",
        "deviceClasses.phone.template={image: own, nodeSelector: {pool: edge}}",
        "coordinator.resources.limits.memory=1Gi",
        "coordinator.template.priorityClassName=high",
        "federation.roundTimeoutSeconds=5",
        "training.epochs=1.0",
    ],
)
def test_what_leaves_the_result_alone_leaves_the_identity_alone(override: str) -> None:
    assert identity_digest(load_spec(SMALLEST, [override])) == identity_digest(load_spec(SMALLEST))


@pytest.mark.parametrize(
    "override",
    [
        "data.augment=[flip]",
        "data.normalize={mean: [0.5], std: [0.25]}",
        "seed=1",
        "training.epochs=2",
        "federation.quorum=0.5",
        "deviceClasses.phone.clients=9",
    ],
)
def test_what_changes_the_result_changes_the_identity(override: str) -> None:
    assert identity_digest(load_spec(SMALLEST, [override])) != identity_digest(load_spec(SMALLEST))


def test_what_a_spec_does_not_say_of_its_data_is_not_in_its_identity() -> None:
    """Searches that were begun before these fields were there go on."""
    assert identity(load_spec(SMALLEST))["data"] == {
        "source": "digits",
        "columns": {"image": "img", "label": "label"},
        "partition": {"iid": {}},
        "evaluation": {"central": {"fraction": 0.1}},
    }


def test_what_is_learnt_is_part_of_the_identity() -> None:
    assert identity(load_spec(SMALLEST))["objective"] == "classification"


def test_differences_name_every_field_that_differs() -> None:
    old = identity(load_spec(SMALLEST))
    changes = ["training.epochs=2", "deviceClasses.hub.clients=5", "strategy.netAdapt.filterStep=4"]
    new = identity(load_spec(SMALLEST, changes))
    assert sorted(differences(old, new)) == [
        "spec.deviceClasses[hub].clients: 4 -> 5",
        "spec.strategy.netAdapt.filterStep: 1 -> 4",
        "spec.training.epochs: 1 -> 2",
    ]
    assert differences(old, old) == []


def test_a_changed_member_of_a_union_is_a_difference_though_it_is_empty() -> None:
    old = identity(load_spec(SMALLEST))
    new = identity(load_spec(SMALLEST, ["data.partition.dirichlet.alpha=0.5"]))
    assert differences(old, new) == [
        "spec.data.partition.iid: set -> unset",
        "spec.data.partition.dirichlet.alpha: unset -> 0.5",
    ]


def test_a_latency_table_may_move_but_neither_come_nor_go() -> None:
    none = load_spec(SMALLEST)
    one, other = (
        load_spec(SMALLEST, [f"deviceClasses.hub.latencyTable={path}"])
        for path in ("hub.csv", "s3://bucket/hub.csv")
    )
    assert identity_digest(one) == identity_digest(other)
    assert differences(identity(one), identity(other)) == []
    assert differences(identity(none), identity(one)) == [
        "spec.deviceClasses[hub].latencyTable: unset -> hub.csv"
    ]
