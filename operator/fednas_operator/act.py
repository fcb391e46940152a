"""Carry out the actions of one pass, in order."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from . import names
from .cluster import ApiError, Cluster
from .coordinator import Coordinators
from .plan import Action, Consent, Create, Delete, Scale, WriteStatus
from .world import Problem, World

__all__ = ["act"]

_log = logging.getLogger(__name__)


async def act(
    cluster: Cluster, coordinators: Coordinators, world: World, actions: Iterable[Action]
) -> Problem | None:
    """Carry out the actions; the first that the API server refuses ends the pass.

    Returns
    -------
    Problem or None
        What the user should know of the refusal; None if all went well.

    Raises
    ------
    ApiError
        The server does not answer, or somebody changed the resource meanwhile: try again.
    """
    for action in actions:
        try:
            await _carry_out(cluster, coordinators, world, action)
        except ApiError as error:
            if error.status == 0 or error.status >= 500 or isinstance(action, WriteStatus):
                raise
            return _problem(action, error)
    return None


async def _carry_out(
    cluster: Cluster, coordinators: Coordinators, world: World, action: Action
) -> None:
    match action:
        case WriteStatus(status):
            await cluster.replace_status({**world.search, "status": dict(status)})
        case Create(manifest):
            try:
                await cluster.create(manifest)
            except ApiError as error:
                if error.reason != "AlreadyExists" or not await _ours(cluster, world, manifest):
                    raise
        case Scale(deployment, replicas):
            await cluster.scale(world.namespace, deployment, replicas)
        case Delete(kind, name):
            await cluster.delete(kind, world.namespace, name)
        case Consent(address):
            # No problem if it fails: the condition still says OtherNumerics, and so does the next
            # report, by which the next pass tries again.
            agreed = await coordinators.accept_numerics(address, world.uid)
            answer = "accepts new numerics" if agreed else "did not take the consent; again later"
            _log.info("%s/%s: the coordinator %s", world.namespace, world.name, answer)


async def _ours(cluster: Cluster, world: World, manifest: Any) -> bool:
    """Whether what exists under that name is this search's child.

    Secrets cannot be read; their names carry the search's uid.
    """
    if manifest["kind"] == "Secret":
        return True
    found = await cluster.get(manifest["kind"], world.namespace, manifest["metadata"]["name"])
    if found is None:
        return False
    owners = found["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == world.uid for owner in owners)


def _problem(action: Action, error: ApiError) -> Problem:
    match action:
        case Consent(address):
            raise AssertionError(f"{address} is not of the API server") from error
        case Create(manifest):
            what = f"{manifest['kind']} {manifest['metadata']['name']}"
        case Scale(name, _):
            what = f"Deployment {name}"
        case Delete(kind, name):
            what = f"{kind} {name}"
        case WriteStatus():
            what = f"the status of {names.KIND}"
    if "exceeded quota" in error.message:
        return Problem("QuotaExceeded", f"{error.message}; raise the namespace's quota")
    if error.reason == "AlreadyExists":
        return Problem("NameTaken", f"{what} exists and belongs to something else; delete it")
    return Problem("ActionRefused", f"{what}: {error.message}; the operator tries again")
