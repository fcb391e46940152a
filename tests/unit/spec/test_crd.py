"""The CRD is what the models say, and what an API server accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from fednas.spec import SearchStatus, crd, crd_yaml, identity_digest, load_spec
from fednas.spec._crd import structural

from .test_load import SMALLEST

COMMITTED = Path(__file__).parents[3] / "manifests/crd/fednas.dev_federatedsearches.yaml"


def root() -> dict[str, Any]:
    found: dict[str, Any] = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def defaulted(value: Any, schema: dict[str, Any]) -> Any:
    """What the API server's defaulting makes of a value."""
    if isinstance(value, list):
        return [defaulted(entry, schema["items"]) for entry in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, inner in schema.get("properties", {}).items():
        if name not in filled and "default" in inner:
            filled[name] = inner["default"]
        if name in filled:
            filled[name] = defaulted(filled[name], inner)
    return filled


def test_the_committed_file_is_up_to_date() -> None:
    assert COMMITTED.read_text() == crd_yaml(), f"python -m fednas.spec > {COMMITTED.name}"


def test_it_stays_small() -> None:
    assert len(crd_yaml()) < 200_000


def test_every_field_is_described_typed_and_bounded() -> None:
    for path, node in nodes(root()):
        if path.startswith(".metadata") or path in (".apiVersion", ".kind"):
            continue
        assert node.get("description") or path.endswith(("{}", "[]")), path
        kind = node.get("type")
        if kind in ("integer", "number"):
            assert {"minimum", "maximum"} <= node.keys(), path
        elif kind == "string":
            assert "maxLength" in node or "enum" in node, path
        elif kind == "array":
            assert "maxItems" in node, path
        elif kind is None:
            assert node["x-kubernetes-int-or-string"], path
        else:
            assert kind in ("object", "boolean"), path


def test_its_defaults_are_those_of_the_models() -> None:
    search = load_spec(SMALLEST)
    written = {
        "model": {"name": "cnn"},
        "data": {"source": "digits"},
        "target": {"macs": {"share": 0.6}},
        "deviceClasses": [{"name": "phone", "clients": 8}, {"name": "hub", "clients": 4}],
    }
    assert defaulted(written, root()["properties"]["spec"]) == search.to_dict()["spec"]


def test_members_of_unions_carry_no_default() -> None:
    unions = 0
    for path, node in nodes(root()):
        if any("exists_one" in rule["rule"] for rule in node.get("x-kubernetes-validations", [])):
            unions += 1
            assert not any("default" in member for member in node["properties"].values()), path
    assert unions == 26


def test_device_classes_and_conditions_are_maps_by_name() -> None:
    properties = root()["properties"]
    classes = properties["spec"]["properties"]["deviceClasses"]
    conditions = properties["status"]["properties"]["conditions"]
    assert classes["x-kubernetes-list-map-keys"] == ["name"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_the_list_shows_the_reason_beside_the_phase() -> None:
    columns = crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns][:2] == ["Phase", "Reason"]


def test_columns_read_fields_of_the_status() -> None:
    version = crd()["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    for column in version["additionalPrinterColumns"][:-1]:
        node = root()
        for part in column["jsonPath"][1:].split("."):
            node = node["properties"][part]
        assert node["type"] == "string", column


def test_all_of_the_spec_but_pauses_limits_consent_and_pods_is_fixed_after_the_start() -> None:
    rules = [r for r in root()["x-kubernetes-validations"] if "oldSelf" in r["rule"]]
    fixed = {rule["fieldPath"].removeprefix(".spec.") for rule in rules}
    fields = root()["properties"]["spec"]["properties"].keys()
    limits = {"activeDeadlineSeconds", "ttlSecondsAfterFinished"}
    assert fixed == fields - limits - {"suspend", "acceptNewNumerics"}
    assert "pods ==" not in rules[-1]["rule"]


def test_only_what_has_no_say_in_the_result_may_change_while_suspended() -> None:
    rules = [r for r in root()["x-kubernetes-validations"] if "'Suspended'" in r["rule"]]
    assert all("suspend it first" in rule["message"] for rule in rules)
    paths = [rule["fieldPath"].removeprefix(".spec.") for rule in rules]
    assert paths == ["coordinator", "storage", "tracking", "deviceClasses"]
    assert {"a.resources", "a.template"} <= set(re.findall(r"a\.\w+", rules[-1]["rule"]))
    other = load_spec(SMALLEST).to_dict()
    pods = {"resources": {"limits": {"cpu": "2"}}, "template": {"labels": {"a": "b"}}}
    other["spec"] |= {
        "storage": {"endpoint": "http://moved:9000", "bucket": "other", "secretName": "s"},
        "tracking": {"uri": "http://moved:5000"},
        "coordinator": pods,
        "deviceClasses": [one | pods for one in other["spec"]["deviceClasses"]],
    }
    assert identity_digest(load_spec(other)) == identity_digest(load_spec(SMALLEST))


def test_a_file_as_tracking_server_is_refused_by_the_api_server_alone() -> None:
    """A coordinator outside a cluster may write one; see `fednas validate` for files."""
    tracking = root()["properties"]["spec"]["properties"]["tracking"]
    (rule,) = [r for r in tracking["x-kubernetes-validations"] if "sqlite" in r["rule"]]
    assert rule["rule"] == "!self.uri.startsWith('sqlite:')"
    assert rule["fieldPath"] == ".uri"
    assert load_spec(SMALLEST, ["tracking.uri=sqlite:///mlflow.db"]).spec.tracking is not None


STATUS = "/spec/versions/0/subresources/status"


def test_the_api_server_gives_back_what_it_was_given() -> None:
    """It drops empty objects and writes 1.0 as 1: a tool that compares would never be done."""

    def altered(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            empty = [path] if not value and "default" not in path and path != STATUS else []
            return empty + [p for k, v in value.items() for p in altered(v, f"{path}/{k}")]
        if isinstance(value, list):
            return [p for i, item in enumerate(value) for p in altered(item, f"{path}/{i}")]
        return [path] if isinstance(value, float) and value.is_integer() else []

    assert altered(crd(), "") == []


def test_the_generator_turns_what_a_crd_spells_differently() -> None:
    class Inner(BaseModel):
        """Described by its class."""

        share: Annotated[float, Field(gt=0, lt=1)] = 0.5

    class Outer(BaseModel):
        """The whole."""

        kind: Literal["a"]
        inner: Inner = Inner()
        other: Inner | None = Field(None, description="Described by its field.")

    schema = structural(Outer.model_json_schema())
    assert schema["properties"]["kind"] == {"type": "string", "enum": ["a"]}
    inner = schema["properties"]["inner"]
    assert inner["default"] == {}
    assert inner["properties"]["share"] == {
        "type": "number",
        "default": 0.5,
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 1,
        "exclusiveMaximum": True,
    }
    assert schema["properties"]["other"]["description"] == "Described by its field."
    assert "default" not in schema["properties"]["other"]


@pytest.mark.parametrize(
    ("annotation", "keyword"),
    [
        (dict[str, Any], "additionalProperties"),
        (dict[Annotated[str, Field(pattern="a")], int], "patternProperties"),
        (int | str, "anyOf"),
        (Annotated[int, Field(multiple_of=2)], "multipleOf"),
        (Annotated[int, Field(examples=[1])], "examples"),
        (set[int], "uniqueItems"),
    ],
)
def test_the_generator_fails_on_a_keyword_that_it_does_not_know(
    annotation: Any, keyword: str
) -> None:
    model = create_model("Odd", field=annotation)
    with pytest.raises(ValueError, match=rf"^\.field: .*{keyword}"):
        structural(model.model_json_schema())


def test_a_status_is_read_and_written_in_camel_case() -> None:
    status = SearchStatus(result_uri="s3://b/l", tracking_run_id="r", observed_generation=2)
    written = status.model_dump(exclude_none=True)
    assert written == {"observedGeneration": 2, "resultURI": "s3://b/l", "trackingRunID": "r"}
    assert SearchStatus.model_validate(written) == status


def test_a_fractional_minimum_is_a_rule_too_for_the_api_server_takes_0_for_more() -> None:
    found = 0
    for path, node in nodes(root()):
        low = node.get("minimum", 0)
        if node.get("type") == "number" and low % 1:
            found += 1
            rules = [rule["rule"] for rule in node["x-kubernetes-validations"]]
            assert f"self >= {low}" in rules, path
    assert found >= 3
