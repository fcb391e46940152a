"""Carry out the actions of one pass, in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import events, names
from .actions import (
    Action,
    Consent,
    Create,
    Delete,
    Expire,
    Refreeze,
    Renew,
    Replace,
    Scale,
    WriteStatus,
)
from .cluster import ApiError, Cluster
from .coordinator import Coordinators
from .world import Object, Problem, World

__all__ = ["Outcome", "act"]

Seen = Callable[[str, str, Object | None], None]

_log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What came of the actions of one pass.

    Parameters
    ----------
    problem : Problem or None
        What the user should know of the first refusal.
    changed : bool
        Whether a child was made, scaled or deleted; not so if what was asked for was done already.
    replaced : list of mapping
        Children that were put right.
    adjusted : bool
        Whether a changed spec was frozen.
    created, deleted : list of str
        ``KIND NAME`` of children.
    written : mapping or None
        The search, if its status was written.
    """

    problem: Problem | None = None
    changed: bool = False
    replaced: list[Mapping[str, Any]] = field(default_factory=list)
    adjusted: bool = False
    created: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    written: Mapping[str, Any] | None = None


async def act(
    cluster: Cluster,
    coordinators: Coordinators,
    world: World,
    actions: Iterable[Action],
    seen: Seen = lambda kind, name, child: None,
) -> Outcome:
    """Carry out the actions; the first that the API server refuses ends the pass.

    But that one Deployment cannot be scaled keeps no other from it.

    Parameters
    ----------
    seen : callable
        Takes kind, name and state of every child that was changed, as the API server answered: of
        a Deployment that was scaled its ``Scale``, of one that was deleted None.

    Raises
    ------
    ApiError
        The server does not answer, or somebody changed the resource meanwhile: try again.
    """
    outcome = Outcome()
    for action in actions:
        try:
            await _carry_out(cluster, coordinators, world, action, outcome, seen)
        except ApiError as error:
            if error.passing or isinstance(action, WriteStatus):
                raise
            outcome.problem = outcome.problem or _problem(action, error)
            if not isinstance(action, Scale):
                break
    await _tell(cluster, world, outcome)
    return outcome


async def _tell(cluster: Cluster, world: World, outcome: Outcome) -> None:
    """Events about children, but none of those that every search is given when it starts."""
    begun = world.status.get("phase") not in (None, "Pending")
    notes = events.of_children(
        outcome.deleted,
        outcome.created if begun else [],
        [_named(manifest) for manifest in outcome.replaced],
        adjusted=outcome.adjusted,
    )
    await events.post(cluster, world.search, notes, world.now)


async def _carry_out(
    cluster: Cluster,
    coordinators: Coordinators,
    world: World,
    action: Action,
    outcome: Outcome,
    seen: Seen,
) -> None:
    def saw(child: Object) -> None:
        seen(child["kind"], child["metadata"]["name"], child)

    match action:
        case WriteStatus(status):
            outcome.written = await cluster.replace_status({**world.search, "status": dict(status)})
            notes = events.transitions(world.status, status)
            await events.post(cluster, world.search, notes, world.now)
        case Create(manifest):
            try:
                saw(await cluster.create(manifest))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                if manifest["kind"] != "Secret":  # cannot be read; its name carries the uid
                    found = await _ours(cluster, world, manifest)
                    if found is None:
                        raise
                    saw(found)
            else:
                outcome.changed = True
                outcome.created.append(_named(manifest))
        case Replace(manifest):
            saw(await cluster.replace(manifest))
            outcome.replaced.append(manifest)
        case Renew(manifest):
            saw(await cluster.replace(manifest))
            outcome.changed = True
        case Refreeze(manifest):
            name = manifest["metadata"]["name"]
            outcome.changed |= await cluster.delete("ConfigMap", world.namespace, name)
            saw(await cluster.create(manifest))
            outcome.adjusted = True
        case Scale(deployment, replicas):
            saw(await cluster.scale(world.namespace, deployment, replicas))
            outcome.changed = True
        case Delete(kind, name):
            if await cluster.delete(kind, world.namespace, name):
                seen(kind, name, None)
                outcome.changed = True
                outcome.deleted.append(f"{kind} {name}")
        case Expire():
            meta = world.search["metadata"]
            only = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
            await cluster.delete(names.KIND, world.namespace, world.name, only)
            outcome.changed = True
        case Consent(address):
            # No problem if it fails: the condition still says OtherNumerics, and so does the next
            # report, by which the next pass tries again.
            agreed = await coordinators.accept_numerics(address, world.uid)
            answer = "accepts new numerics" if agreed else "did not take the consent; again later"
            _log.info("%s/%s: the coordinator %s", world.namespace, world.name, answer)


async def _ours(cluster: Cluster, world: World, manifest: Object) -> Object | None:
    """What exists under that name, if it is this search's child."""
    found = await cluster.get(manifest["kind"], world.namespace, manifest["metadata"]["name"])
    owners = ((found or {}).get("metadata") or {}).get("ownerReferences") or ()
    return found if any(owner["uid"] == world.uid for owner in owners) else None


def _problem(action: Action, error: ApiError) -> Problem:
    match action:
        case Consent(address):
            raise AssertionError(f"{address} is not of the API server") from error
        case Create(manifest) | Replace(manifest) | Renew(manifest) | Refreeze(manifest):
            what = _named(manifest)
        case Scale(name, _):
            what = f"Deployment {name}"
        case Delete(kind, name):
            what = f"{kind} {name}"
        case Expire():
            what = f"{names.KIND}, whose time is up"
        case WriteStatus():
            what = f"the status of {names.KIND}"
    if "exceeded quota" in error.message:
        return Problem("QuotaExceeded", f"{error.message}; raise the namespace's quota")
    if error.reason == "AlreadyExists":
        return Problem("NameTaken", f"{what} exists and belongs to something else; delete it")
    return Problem("ActionRefused", f"{what}: {error.message}; the operator tries again")


def _named(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
