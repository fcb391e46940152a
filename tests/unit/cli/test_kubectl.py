"""Searches of a cluster by their names: without kubectl, and with one that may do little."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command

SEARCH = {"metadata": {"name": "mine", "namespace": "team", "uid": "4f1c"}, "status": {}}
ALLOWED = """#!/bin/sh
case "$*" in
  "--namespace team get federatedsearches.fednas.dev mine -o json") cat "$SEARCH" ;;
  *) echo "Error from server (Forbidden): not for you" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl whose user may read the search and nothing else; the folder to work in."""
    program, search = tmp_path / "bin/kubectl", tmp_path / "search.json"
    program.parent.mkdir()
    program.write_text(ALLOWED, encoding="utf-8")
    program.chmod(0o755)
    search.write_text(json.dumps(SEARCH), encoding="utf-8")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("SEARCH", str(search))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_kubectl_it_is_asked_for(fednas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for command in (("diagnose", "mine"), ("report", "mine", "-n", "team")):
        said = fednas(*command)
        assert said.code == 2
        assert said.err.startswith("error: kubectl is not in the PATH")


def test_a_diagnosis_has_what_its_reader_may_see_and_tells_what_is_missing(
    fednas: Command, limited: Path
) -> None:
    said = fednas("diagnose", "mine", "-n", "team")
    assert (said.code, said.out) == (0, "mine-diagnosis.tar.gz\n")
    with tarfile.open(limited / "mine-diagnosis.tar.gz") as archive:
        search, missing = (archive.extractfile(name) for name in ("search.json", "missing.txt"))
        assert search is not None
        assert missing is not None
        assert json.load(search) == SEARCH
        told = missing.read().decode()
    for part in ("versions.json", "children.json", "events.json", "operator.log"):
        assert f"{part}: Error from server (Forbidden): not for you" in told
        assert f"not in it: {part}: " in said.err


def test_of_the_operators_log_the_lines_of_no_other_search_are_taken(
    fednas: Command, limited: Path
) -> None:
    log = ["team/mine: new -> Pending", "team/mine-2: new", "steam/mine: new", "a.team/mine: new"]
    pods = {"items": [{"metadata": {"name": "operator-0", "namespace": "fednas"}}]}
    (limited / "pods.json").write_text(json.dumps(pods), encoding="utf-8")
    (limited / "operator.txt").write_text("\n".join(log) + "\n", encoding="utf-8")
    program = limited / "bin/kubectl"
    more = f"""  *"--all-namespaces"*) cat {limited}/pods.json ;;
  "--namespace fednas logs operator-0") cat {limited}/operator.txt ;;
  *)"""
    program.write_text(ALLOWED.replace("  *)", more), encoding="utf-8")
    assert fednas("diagnose", "mine", "-n", "team").code == 0
    with tarfile.open(limited / "mine-diagnosis.tar.gz") as archive:
        found = archive.extractfile("operator/operator-0.log")
        assert found is not None
        assert found.read().decode() == log[0] + "\n"


def test_what_kubectl_says_is_the_error(fednas: Command, limited: Path) -> None:
    said = fednas("diagnose", "other", "-n", "team")
    assert (said.code, said.err) == (2, "error: Error from server (Forbidden): not for you\n")
    assert not list(limited.glob("*.tar.gz"))


def test_a_search_without_a_result_has_no_report(fednas: Command, limited: Path) -> None:
    said = fednas("report", "mine", "-n", "team")
    assert (said.code, said.err) == (
        2,
        "error: mine: has no result yet; kubectl describe fsearch mine says why\n",
    )


def test_a_file_that_cannot_be_written_is_named(fednas: Command, limited: Path) -> None:
    said = fednas("diagnose", "mine", "-n", "team", "--out", "no/such/folder.tar.gz")
    assert (said.code, said.err) == (
        2,
        "error: --out: no/such/folder.tar.gz: No such file or directory\n",
    )
