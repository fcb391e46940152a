"""What a search takes up of its resource while nothing of it runs.

Its spec is frozen when it is accepted. While it is suspended the API server lets the user change
what has no say in the result: where store and tracking server are, and what the pods are like. A
field that the user has not touched since stays as it was frozen, whatever the chart's defaults are
today; one that was touched is filled in as at acceptance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from fednas.errors import SpecError
from fednas.spec import CoordinatorPod, DeviceClass, FederatedSearch, load_spec

from . import manifests, names
from .accept import Refused, accept
from .actions import Action, Create, Refreeze, Renew
from .settings import Settings
from .world import Object, World

__all__ = ["follow", "given", "thaw", "with_changes"]

_WHOLE = ("storage", "tracking")
_OF_PODS = ("resources", "template")

Pods = TypeVar("Pods", CoordinatorPod, DeviceClass)


def given(spec: Object) -> str:
    """What a resource says in the fields that it may change while suspended, as JSON."""
    fields: dict[str, Any] = {name: spec.get(name) for name in _WHOLE}
    fields["coordinator"] = _of_pods(spec.get("coordinator") or {})
    fields["deviceClasses"] = {one["name"]: _of_pods(one) for one in spec["deviceClasses"]}
    return json.dumps(fields, sort_keys=True)


@lru_cache(maxsize=1024)
def thaw(frozen: str) -> FederatedSearch:
    """The spec of a frozen text; `SpecError` if it is another version's."""
    return load_spec(frozen)


def with_changes(
    frozen: FederatedSearch | Refused, world: World, settings: Settings
) -> FederatedSearch | Refused:
    """The frozen spec with what the user has changed; itself if that is nothing, or pods run.

    Refused where what was changed cannot be run.
    """
    waits = world.frozen is None or world.terminal or world.num_running
    if isinstance(frozen, Refused) or waits:
        return frozen
    try:
        return _adopted(frozen, world, settings)
    except Refused as refused:
        return refused


def follow(
    world: World,
    frozen: FederatedSearch | Refused,
    wanted: FederatedSearch | Refused,
    settings: Settings,
) -> Iterator[Action]:
    """Freeze a changed spec; once it is, replace what was made after the one before.

    The coordinator's Deployment, which tells after which spec all were made, comes last.
    """
    if isinstance(wanted, Refused):
        return
    said = given(world.spec)
    if wanted is not frozen:
        yield Refreeze(next(manifests.frozen(wanted, world.uid, settings.master_key, said)))
        return
    own = _own_images(wanted) | _own_images(_before(world))
    for manifest in manifests.children(wanted, world.uid, settings, said):
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "NetworkPolicy" and name in world.policies:
            yield Renew(manifests.renewed(manifest, world.policies[name], keep_image=True))
        elif manifest["kind"] == "Deployment":
            part = manifest["metadata"]["labels"].get(names.CLASS, names.COORDINATOR)
            found = world.deployments.get(name)
            if found is None:  # of a class: made when the search goes on
                manifest["spec"]["replicas"] = 0
                action: Action = Create(manifest)
            else:
                action = Renew(manifests.renewed(manifest, found, keep_image=part not in own))
            if part == names.COORDINATOR:
                coordinator = action
            elif found is not None:
                yield action
    yield coordinator


def _before(world: World) -> FederatedSearch | None:
    """The spec after which the Deployments were made."""
    try:
        return None if world.made_after is None else thaw(world.made_after)
    except SpecError:
        return None


def _own_images(search: FederatedSearch | None) -> set[str]:
    """The classes, and perhaps the coordinator, whose image is not the chart's."""
    if search is None:
        return set()
    pods = {names.COORDINATOR: search.spec.coordinator.template}
    pods |= {one.name: one.template for one in search.spec.device_classes}
    return {part for part, template in pods.items() if template and template.image}


def _adopted(frozen: FederatedSearch, world: World, settings: Settings) -> FederatedSearch:
    text = given(world.spec)
    if text == world.given:
        return frozen
    now, before = json.loads(text), json.loads(world.given or "{}")
    changed = [name for name in _WHOLE if now[name] != before.get(name)]
    kept = {name: getattr(frozen.spec, name) for name in _WHOLE if name not in changed}
    defaults = settings.defaults.model_copy(
        update={
            name: None if value is None else value.model_dump(mode="json", exclude_none=True)
            for name, value in kept.items()
        }
    )
    spec = {name: value for name, value in world.spec.items() if name not in kept}
    fresh = accept({**world.search, "spec": spec}, defaults, settings.allowed_endpoints).spec
    classes = before.get("deviceClasses", {})
    theirs = {one.name: one for one in fresh.device_classes}
    updated = {
        **{name: getattr(fresh, name) for name in changed},
        "coordinator": _taken(
            *(frozen.spec.coordinator, fresh.coordinator),
            *(now["coordinator"], before.get("coordinator", {})),
        ),
        "device_classes": tuple(
            _taken(one, theirs[one.name], now["deviceClasses"][one.name], classes.get(one.name, {}))
            for one in frozen.spec.device_classes
        ),
    }
    result = frozen.model_copy(update={"spec": frozen.spec.model_copy(update=updated)})
    return frozen if result == frozen else result


def _of_pods(pods: Object) -> dict[str, Any]:
    return {name: pods.get(name) for name in _OF_PODS}


def _taken(old: Pods, new: Pods, now: Mapping[str, Any], before: Mapping[str, Any]) -> Pods:
    update = {name: getattr(new, name) for name in _OF_PODS if now[name] != before.get(name)}
    return old.model_copy(update=update)
