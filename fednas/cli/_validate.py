"""``fednas validate``: is a file right? Needs neither torch nor a cluster."""

from __future__ import annotations

import typer

from fednas.cli._options import File, Set
from fednas.errors import SpecError
from fednas.spec import FederatedSearch, load_spec

__all__ = ["validate"]


def validate(
    file: File,
    set: Set = None,
) -> None:
    """Check a file; every problem is named by its field."""
    search = load_spec(file, set or ())
    for warning in [*search.spec.warnings(), *_for_a_cluster(search)]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{file}: {search.metadata.name} is valid")


def _for_a_cluster(search: FederatedSearch) -> list[str]:
    """What a cluster refuses and a coordinator elsewhere does not; an error if it is a cluster's.

    That is told by a namespace or a store, which a laptop has no use for.
    """
    tracking = search.spec.tracking
    if tracking is None or not tracking.problem_in_pod:
        return []
    if search.metadata.namespace is None and search.spec.storage is None:
        return [f"spec.tracking.uri: in a cluster it {tracking.problem_in_pod}"]
    raise SpecError([f"spec.tracking.uri: got {tracking.uri!r}; {tracking.problem_in_pod}"])
