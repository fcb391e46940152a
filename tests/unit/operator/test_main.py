"""The program as its command line starts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fednas_operator import __main__ as program

KEY = "k3y-of-all-tokens"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """With what kopf was run."""
    found: list[dict[str, Any]] = []

    async def served() -> None:
        pass

    monkeypatch.setattr(program, "_wait_for_resource", served)
    monkeypatch.setattr(program.kopf, "run", lambda **options: found.append(options))
    return found


def started(folder: Path, settings: dict[str, Any], *options: str, key: str = KEY) -> int:
    (folder / "key").write_text(key)
    (folder / "operator.json").write_text(json.dumps(settings))
    files = ("--config", str(folder / "operator.json"), "--master-key", str(folder / "key"))
    return program.main([*files, *options])


@pytest.mark.parametrize(
    ("host", "url"),
    [("10.0.0.7", "http://10.0.0.7:8081/healthz"), ("fd00::7", "http://[fd00::7]:8081/healthz")],
)
def test_the_probe_answers_at_an_address_of_either_family(
    tmp_path: Path, runs: list[dict[str, Any]], host: str, url: str
) -> None:
    assert started(tmp_path, {"image": {"name": "i"}}, "--health-host", host) == 0
    assert [options["liveness_endpoint"] for options in runs] == [url]


def test_of_a_list_of_namespaces_no_other_is_watched(
    tmp_path: Path, runs: list[dict[str, Any]]
) -> None:
    assert started(tmp_path, {"image": {"name": "i"}}, "--namespace=a", "--namespace=b") == 0
    assert [(one["clusterwide"], one["namespaces"]) for one in runs] == [(False, ["a", "b"])]


@pytest.mark.parametrize(
    ("settings", "key", "field"),
    [({}, KEY, "image"), ({"image": {"name": "i"}}, KEY[:15], "masterKey")],
)
def test_settings_that_are_refused_are_told_without_the_master_key(
    tmp_path: Path,
    runs: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    key: str,
    field: str,
) -> None:
    assert started(tmp_path, settings, key=key) == 2
    said = capsys.readouterr().err
    assert field in said
    assert key not in said
    assert not runs
