"""A cluster by the user's own kubectl: its context, its credentials, its rights, and no library."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Annotated, Any

import typer

from fednas.errors import BadInput

__all__ = ["SEARCHES", "KubectlFailed", "Namespace", "kubectl", "result_of", "search_in"]

SEARCHES = "federatedsearches.fednas.dev"
_SECONDS = 60.0

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Of the cluster that kubectl knows.")
]


class KubectlFailed(BadInput):
    """It did not do what it was asked; what it said."""


def kubectl(*arguments: str, namespace: str | None = None) -> str:
    """What it prints.

    Parameters
    ----------
    namespace : str or None
        None: that of the current context.

    Raises
    ------
    BadInput
        It is not in the PATH.
    KubectlFailed
        It refused, or took longer than a minute.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise BadInput("kubectl is not in the PATH; searches in a cluster are read by it")
    where = [] if namespace is None else ["--namespace", namespace]
    try:
        done = subprocess.run(  # noqa: S603 - what the user asks of his own cluster
            [program, *where, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KubectlFailed(f"kubectl took longer than {_SECONDS:.0f} s") from None
    if done.returncode:
        raise KubectlFailed(done.stderr.strip() or f"kubectl ended with {done.returncode}")
    return done.stdout


def search_in(namespace: str | None, name: str) -> dict[str, Any]:
    """A FederatedSearch of the cluster, as it is."""
    text = kubectl("get", SEARCHES, name, "-o", "json", namespace=namespace)
    found: dict[str, Any] = json.loads(text)
    return found


def result_of(namespace: str | None, name: str) -> str:
    """The URI under which a search's ladder lies."""
    uri = (search_in(namespace, name).get("status") or {}).get("resultURI")
    if not uri:
        raise BadInput(f"{name}: has no result yet; kubectl describe fsearch {name} says why")
    return str(uri)
