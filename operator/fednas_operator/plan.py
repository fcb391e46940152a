"""What to do next: a pure function of what one pass saw.

The order of a search's life::

    accept      Accepted and startTime are written; from then on the spec is immutable
    create      Secrets, ConfigMap, ServiceAccount, policies, Service, coordinator, clients
    follow      status from the coordinator; replicas from spec.suspend and deviceClasses[].pods;
                consent to other numerics from spec.acceptNewNumerics; policies and Service kept
                as they should be
    end         Complete or Failed is written; then the clients go, and once the tracking server has
                every record (condition Tracked), or a day has passed, all the rest; nothing is made
                again
    adopt       what was changed while nothing ran is frozen in place of what was, and the children
                made after it are replaced; only then does the search go on
    expire      the resource goes, spec.ttlSecondsAfterFinished after its end

Each step is taken only when the one before is seen in the API, so the operator may die anywhere.
Secrets cannot be seen: they are made before the ConfigMap and deleted before it, so they are there
while it is. Where one is missing all the same, the class's pods say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fednas.errors import OtherNumerics, SpecError
from fednas.spec import FederatedSearch

from . import manifests, names
from .accept import Refused, accept
from .actions import Action, Consent, Create, Delete, Expire, Replace, Scale, WriteStatus
from .adopt import follow, given, thaw, with_changes
from .limits import dismissed, expiry
from .settings import Settings
from .status import next_status, terminal, urgent
from .world import World

__all__ = ["plan"]


def plan(world: World, settings: Settings) -> list[Action]:
    """The actions of one pass, in order; none if the search is as it should be."""
    if "deletionTimestamp" in world.search["metadata"]:
        return []
    if (due := expiry(world)) is not None and world.now >= due:
        return [Expire()]
    frozen = _verdict(world, settings)
    verdict = with_changes(frozen, world, settings)
    status = next_status(world, verdict)
    actions: list[Action] = []
    if status != dict(world.status):
        actions.append(WriteStatus(status, urgent(world.status, status)))
    if terminal(status) != world.terminal:
        return actions
    if world.terminal:
        return actions + list(_end(world, verdict, settings))
    if "startTime" in world.status:
        if verdict is not frozen or not (world.renewed or world.num_running):
            return actions + list(follow(world, frozen, verdict, settings))
        # In this order, since what the API server refuses to create ends a pass.
        actions += [*_consent(world), *_scale(world), *_create(world, verdict, settings)]
    return actions


def _verdict(world: World, settings: Settings) -> FederatedSearch | Refused:
    """The frozen spec if there is one, else the resource's with the defaults of today."""
    frozen = world.frozen
    if world.lost and not dismissed(world):
        name = names.child_name(world.name, names.COORDINATOR, world.uid)
        return Refused(
            "SpecLost",
            f"both copies of the accepted spec are gone, the ConfigMap and the Deployment {name}; "
            "put one back from a backup, or delete the search and create it anew: frozen again, it "
            "might be another, since the chart's defaults change",
        )
    try:
        if frozen is not None:
            return thaw(frozen)
        return accept(world.search, settings.defaults, settings.allowed_endpoints)
    except Refused as refused:
        return refused
    except SpecError as error:
        return Refused(
            "SpecUnreadable",
            f"the search was begun with another version of the operator: {error.problems[0]}; it "
            "goes on, but what is deleted cannot be made again: go back to that version until "
            "the search is over",
        )


def _create(
    world: World,
    search: FederatedSearch | Refused,
    settings: Settings,
    *,
    clients: bool = True,
) -> Iterator[Create | Replace]:
    """What is missing, and what is not as it should be."""
    if isinstance(search, Refused):
        return
    config_map, *secrets = manifests.frozen(
        search, world.uid, settings.master_key, given(world.spec)
    )
    bare = _classes_without_secret(world)
    for secret in secrets:
        if world.config_map is None or secret["metadata"]["labels"][names.CLASS] in bare:
            yield Create(secret)
    if world.config_map is None:
        yield Create(config_map)
    present: Mapping[str, Mapping[str, Any]] = {
        "ServiceAccount": world.service_accounts,
        "NetworkPolicy": world.policies,
        "Service": world.services,
        "Deployment": world.deployments,
    }
    wanted = manifests.replicas(world.spec, world.uid, world.name)
    for manifest in manifests.children(search, world.uid, settings, given(world.spec)):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        found = present[kind].get(name)
        if found is not None:
            if (repaired := manifests.repaired(manifest, found)) is not None:
                yield Replace(repaired)
            continue
        if kind == "Deployment":
            if not clients and manifest["spec"]["template"]["metadata"]["labels"].get(names.CLASS):
                continue
            manifest["spec"]["replicas"] = wanted[name]
        yield Create(manifest)


def _classes_without_secret(world: World) -> set[str]:
    """Client pods take nothing from outside but their token."""
    return {
        pod["metadata"]["labels"][names.CLASS]
        for pod in world.pods
        if names.CLASS in pod["metadata"]["labels"]
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        if ((container.get("state") or {}).get("waiting") or {}).get("reason")
        == "CreateContainerConfigError"
    }


def _scale(world: World) -> Iterator[Scale]:
    wanted = manifests.replicas(world.spec, world.uid, world.name)
    for name, count in wanted.items():
        deployment = world.deployments.get(name)
        if deployment is not None and deployment["spec"].get("replicas") != count:
            yield Scale(name, count)


def _consent(world: World) -> Iterator[Consent]:
    """The user's to the coordinator, for as long as it asks: by the live resource, as pods are."""
    asked = ((world.report or {}).get("degraded") or {}).get("reason") == OtherNumerics.reason
    service = world.services.get(names.child_name(world.name, names.COORDINATOR, world.uid))
    if asked and service is not None and world.spec.get("acceptNewNumerics", False):
        yield Consent(service["spec"].get("clusterIP", ""))


def _end(world: World, search: FederatedSearch | Refused, settings: Settings) -> Iterator[Action]:
    coordinator = names.child_name(world.name, names.COORDINATOR, world.uid)
    for name in sorted(world.deployments):
        if name != coordinator:
            yield Delete("Deployment", name)
    if not (dismissed(world) or world.lost):
        yield from _create(world, search, settings, clients=False)
        deployment = world.deployments.get(coordinator)
        if deployment is not None and deployment["spec"].get("replicas") != 1:
            yield Scale(coordinator, 1)
        return
    if coordinator in world.deployments:
        yield Delete("Deployment", coordinator)
    if world.config_map is not None:
        for device_class in world.spec["deviceClasses"]:
            yield Delete("Secret", names.child_name(world.name, device_class["name"], world.uid))
    for kind, present in (
        ("NetworkPolicy", world.policies),
        ("Service", world.services),
        ("ServiceAccount", world.service_accounts),
    ):
        for name in sorted(present):
            yield Delete(kind, name)
    if world.config_map is not None:  # last: while it is there, so are the Secrets
        yield Delete("ConfigMap", world.config_map["metadata"]["name"])
