"""The chart as others than helm apply it, its own test, and the values that the docs show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import helm, image_values
from tests.e2e.kube import SEARCH, Namespace, kubectl, sample, wait
from tests.values import CHART, values_in_the_docs

pytestmark = pytest.mark.e2e

KINDS = "deployments,configmaps,services,networkpolicies,secrets,serviceaccounts,roles,pods"
TRYING_OUT = ("--set", "minio.enabled=true,mlflow.enabled=true")


def _rendered(*values: str) -> str:
    return helm("template", "fednas", str(CHART), "--no-hooks", *image_values(), *values)


def _state(ns: Namespace) -> dict[str, tuple[str, str, str]]:
    """What would change if anything of the chart were made anew, edited, or rotated."""
    items: list[dict[str, Any]] = json.loads(ns("get", KINDS, "-o", "json"))["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": (
            item["metadata"]["uid"],
            str(item["metadata"].get("generation")),
            json.dumps(item.get("data"), sort_keys=True),
        )
        for item in items
        if item["metadata"]["name"].startswith("fednas")
    }


def test_the_rendered_chart_applied_twice_in_mid_search_changes_nothing(ns: Namespace) -> None:
    ns("apply", "-f", "-", stdin=_rendered(*TRYING_OUT))  # what helm installed by other values
    for name in ("fednas-operator", "fednas-minio", "fednas-mlflow"):
        ns("rollout", "status", f"deployment/{name}", "--timeout=180s")
    ns.apply(sample("manifests/samples/quickstart.yaml", "gitops"))
    wait("its first round", 120, lambda: ns.status("gitops").get("rounds"))
    before = _state(ns)
    for _ in range(2):
        ns("apply", "-f", "-", stdin=_rendered(*TRYING_OUT))
        now = _state(ns)
        assert {key: now.get(key) for key in before} == before
    ns.await_end("gitops", 300)  # with the tokens and the store that it began with
    ns("delete", SEARCH, "gitops", "--timeout=60s")


def test_helm_test_takes_a_search_to_its_end_and_leaves_nothing(ns: Namespace) -> None:
    assert "Phase:          Succeeded" in helm("test", "fednas", "--timeout", "10m")
    for kind in (SEARCH, "pods", "serviceaccounts", "roles", "rolebindings"):
        assert ns.get(kind, "fednas-test") is None, f"a {kind} is left over"


def test_the_api_server_takes_what_every_block_of_values_in_the_docs_makes(tmp_path: Path) -> None:
    blocks = values_in_the_docs()
    assert len(blocks) >= 4
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        values = ["--values", str(file), "--set", "crd.install=false,podMonitors.enabled=false"]
        made = [item for item in yaml.safe_load_all(_rendered(*values)) if item]
        wanted = yaml.safe_load(block).get("operator", {}).get("namespaces", [])
        missing = [name for name in wanted if not kubectl("get", "ns", name, "--ignore-not-found")]
        try:
            for name in missing:
                kubectl("create", "namespace", name)
            kubectl(
                *("apply", "--dry-run=server", "--validate=strict", "-f", "-"),
                stdin=yaml.safe_dump_all(made),
            )
        finally:
            for name in missing:
                kubectl("delete", "namespace", name, "--timeout=60s")
