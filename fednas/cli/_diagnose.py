"""``fednas diagnose``: what there is to know of a search in a cluster, in one file to pass on."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fednas.cli._kubectl import KubectlFailed, Namespace, kubectl, search_in
from fednas.errors import BadInput

__all__ = ["diagnose"]

# No Secret is among them: the file is made to be handed to others.
_CHILDREN = "deployments,replicasets,pods,services,serviceaccounts,configmaps,networkpolicies"
_OPERATOR = "app.kubernetes.io/name=fednas,app.kubernetes.io/component=operator"
_LINES = 5000


def diagnose(
    name: Annotated[str, typer.Argument(help="A FederatedSearch of the cluster.")],
    namespace: Namespace = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; default: NAME-diagnosis.tar.gz.")
    ] = None,
) -> None:
    """Gather a search's state, events and logs from the cluster into one file; no Secrets."""
    search, path = search_in(namespace, name), out or Path(f"{name}-diagnosis.tar.gz")
    try:
        with tarfile.open(path, "w:gz") as file:
            _gather(_Archive(file, search["metadata"]["namespace"]), search)
    except OSError as error:
        raise BadInput(f"--out: {path}: {error.strerror or error}") from None
    typer.echo(str(path))


class _Archive:
    """A file that is being written; what cannot be had is told, in it and on the screen."""

    def __init__(self, file: tarfile.TarFile, namespace: str) -> None:
        self.namespace = namespace
        self._file = file
        self._missing: list[str] = []

    def add(self, name: str, text: str) -> None:
        data = text.encode()
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        self._file.addfile(entry, io.BytesIO(data))

    def asked(self, name: str, *arguments: str, namespace: str | None = None) -> str:
        """What kubectl answers; nothing if it may not, which is told under this name."""
        try:
            return kubectl(*arguments, namespace=namespace or self.namespace)
        except KubectlFailed as error:
            self._missing.append(f"{name}: {error}")
            typer.echo(f"not in it: {name}: {error}", err=True)
            return ""

    def items(self, name: str, *arguments: str) -> list[dict[str, Any]]:
        """Of a list that kubectl gets."""
        text = self.asked(name, "get", *arguments, "-o", "json")
        found: list[dict[str, Any]] = json.loads(text)["items"] if text else []
        return found

    def close(self) -> None:
        if self._missing:
            self.add("missing.txt", "\n".join(self._missing) + "\n")


def _gather(archive: _Archive, search: Mapping[str, Any]) -> None:
    from fednas import __version__

    meta = search["metadata"]
    archive.add("search.json", _json(search))
    archive.add("fednas.txt", f"fednas {__version__}\n")
    archive.add("versions.json", archive.asked("versions.json", "version", "-o", "json"))
    children = archive.items("children.json", _CHILDREN, "-l", f"fednas.dev/uid={meta['uid']}")
    archive.add("children.json", _json(children))
    ours = {meta["name"], *(child["metadata"]["name"] for child in children)}
    events = archive.items("events.json", "events")
    told = [event for event in events if event["involvedObject"].get("name") in ours]
    archive.add("events.json", _json(told))
    for pod in children:
        if pod["kind"] == "Pod":
            _logs(archive, pod)
    _operator(archive, f"{archive.namespace}/{meta['name']}")
    archive.close()


def _logs(archive: _Archive, pod: Mapping[str, Any]) -> None:
    name, states = pod["metadata"]["name"], pod["status"].get("containerStatuses") or ()
    ask = ("logs", name, "--all-containers", "--timestamps", f"--tail={_LINES}")
    if any("waiting" not in one["state"] or one["restartCount"] for one in states):
        archive.add(f"logs/{name}.log", archive.asked(f"logs/{name}.log", *ask))
    if any(one["restartCount"] for one in states):
        before = f"logs/{name}.previous.log"
        archive.add(before, archive.asked(before, *ask, "--previous"))


def _operator(archive: _Archive, search: str) -> None:
    """Of its log what speaks of this search; other tenants' are not the reader's business."""
    named = re.compile(rf"(?<![\w.-]){re.escape(search)}(?![\w.-])")
    for pod in archive.items("operator.log", "pods", "--all-namespaces", "-l", _OPERATOR):
        meta = pod["metadata"]
        log = archive.asked("operator.log", "logs", meta["name"], namespace=meta["namespace"])
        lines = [line for line in log.splitlines(keepends=True) if named.search(line)]
        archive.add(f"operator/{meta['name']}.log", "".join(lines))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
