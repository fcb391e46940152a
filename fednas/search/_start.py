"""From a spec to a trained starting network on record: what every strategy begins with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fednas.data import Shards
from fednas.errors import BadInput, Corrupt, DataError, SearchFailed
from fednas.federation import (
    CLOUD,
    Cohort,
    Federation,
    Fleet,
    Outcome,
    Round,
    Task,
    default_group_count,
    longest_processing_time,
    round_robin,
)
from fednas.models import Architecture, decode, start_architecture
from fednas.search._draw import draw_clients
from fednas.seeds import derive_seed
from fednas.space import Space
from fednas.spec import FederatedSearch, InitialTraining, Training, clients, differences, identity
from fednas.store import Blobs, Journal, Layout, Store, canonical_json

__all__ = ["Inputs", "Start", "begin", "check_identity", "training_params"]


@dataclass(frozen=True)
class Inputs:
    """What a search reads from outside, as callables so that a replay need not read it again.

    Parameters
    ----------
    shards : callable
        Cuts the data set into shards in the store (or finds them there).
    weights : callable
        The blob of the start weights, where the spec names some.
    """

    shards: Callable[[], Shards]
    weights: Callable[[], bytes]


@dataclass(frozen=True)
class Start:
    """The trained starting network and everything that the search needs around it.

    Parameters
    ----------
    network : Architecture
    outcome : Outcome
        On the validation rows.
    shards : Shards
    space : Space
    space_digest : str
        sha256 of the space's blob, which tasks of the kind ``derive`` read.
    groups : tuple of tuple of str
        The clients of each group.
    federation : Federation
    """

    network: Architecture
    outcome: Outcome
    shards: Shards
    space: Space
    space_digest: str
    groups: tuple[tuple[str, ...], ...]
    federation: Federation


async def begin(
    search: FederatedSearch,
    *,
    store: Store,
    layout: Layout,
    journal: Journal,
    fleet: Fleet,
    inputs: Inputs,
    round_timeout: float | None,
    accept_new_numerics: bool,
) -> Start:
    """Cut the data into shards, trace the network, record the start, train it.

    Raises
    ------
    BadInput
        The journal was begun under other numerics or on other data, or the start weights do not
        fit; nothing was recorded.
    SearchFailed
        The initial training found no quorum.
    """
    spec, blobs = search.spec, Blobs(store, layout.blobs)
    shards = inputs.shards()
    channels, size, _ = shards.input
    network = start_architecture(
        spec.model.name,
        channels=channels,
        size=size,
        classes=shards.classes,
        width_multiplier=spec.model.args.width_multiplier,
    )
    federation = Federation(
        fleet,
        journal,
        blobs,
        seed=spec.seed,
        shards={name: (s.shard, s.samples) for name, s in shards.clients.items()},
        validation=shards.validation.shard,
        calibration=shards.calibration.shard,
        quorum=spec.federation.quorum,
        timeout=round_timeout,
    )
    traced = await federation.do(
        Task(
            id="000-trace",
            kind="trace",
            client=CLOUD,
            params={"architecture": network.model_dump()},
        )
    )
    space_digest = traced.outputs["space"]
    space = Space.from_json(blobs.get(space_digest))
    numerics = json.loads(blobs.get(traced.outputs["numerics"]))
    started = journal.records.get("000-start")
    if started is not None:
        _check_continuation(started.value, shards, numerics, accept_new_numerics)
    groups = _make_groups(search, space, shards)
    weights = _given_weights(search, network, space, journal, blobs, inputs)
    if started is None:
        journal.record("000-start", _record(search, network, space, shards, groups, numerics))
    store.put(f"{layout.ladder}search.json", canonical_json(search.to_dict()))
    if weights is not None:
        labels = {"iteration": 0, "phase": "initial", "candidate": "", "round": 0}
        outcome = await federation.evaluate("000-initial/00", labels, network, weights)
    else:
        training = spec.model.initial.training
        assert training is not None, "one of both is given"
        macs = space.macs(network.widths)
        outcome = await _trained(network, macs, training, spec.seed, shards, federation)
    return Start(network, outcome, shards, space, space_digest, groups, federation)


def check_identity(search: FederatedSearch, journal: Journal) -> None:
    """`BadInput` if the journal was begun with another spec."""
    started = journal.records.get("000-start")
    if started is None:
        return
    changed = differences(started.value["spec"], identity(search))
    if changed:
        raise BadInput(
            "this search was started with another spec; undo the change or start a new one:\n  "
            + "\n  ".join(changed)
        )


def training_params(training: Training | InitialTraining) -> dict[str, Any]:
    """The parameters of the kind ``train`` besides the architecture."""
    sgd = training.optimizer.sgd
    assert sgd is not None, "the only member of this union"
    return {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": {
            "learning_rate": sgd.learning_rate,
            "momentum": sgd.momentum,
            "weight_decay": sgd.weight_decay,
        },
    }


def _check_continuation(
    started: Mapping[str, Any],
    shards: Shards,
    numerics: Mapping[str, Any],
    accept_new_numerics: bool,
) -> None:
    before = started["numerics"]
    if before != numerics and not accept_new_numerics:
        raise BadInput(
            f"this search ran with {_words(before)}, here is {_words(numerics)}: its bits "
            "would change; go on where it began, or pass --accept-new-numerics"
        )
    if started["data"] != shards.digest:
        raise DataError(
            "data.source: these are not the data that this search began with; "
            "put them back or start a new search"
        )


def _make_groups(
    search: FederatedSearch, space: Space, shards: Shards
) -> tuple[tuple[str, ...], ...]:
    spec = search.spec
    settings = spec.strategy.net_adapt
    assert settings is not None, "the only member of this union"
    samples = {name: shard.samples for name, shard in shards.clients.items()}
    count = settings.client_groups or default_group_count(len(space.groups), len(samples))
    if spec.data.partition.iid is not None:
        return round_robin([client.name for client in clients(search)], count)
    return longest_processing_time(samples, count)


def _record(
    search: FederatedSearch,
    network: Architecture,
    space: Space,
    shards: Shards,
    groups: tuple[tuple[str, ...], ...],
    numerics: Mapping[str, Any],
) -> dict[str, Any]:
    """The journal's first record: all that the rest of the journal rests on."""
    return {
        "name": search.metadata.name,
        "spec": identity(search),
        "numerics": numerics,
        "data": shards.digest,
        "input": list(shards.input),
        "classes": shards.classes,
        "testRows": shards.test is not None,
        "architecture": network.model_dump(),
        "macs": space.macs(network.widths),
        "params": space.params(network.widths),
        "layers": [{"name": group.name, "width": group.width} for group in space.groups],
        "leftOut": [left.model_dump() for left in space.left_out],
        "groups": [list(group) for group in groups],
        "clients": {
            client.name: {
                "deviceClass": client.device_class,
                "samples": shards.clients[client.name].samples,
            }
            for client in clients(search)
        },
    }


def _given_weights(
    search: FederatedSearch,
    network: Architecture,
    space: Space,
    journal: Journal,
    blobs: Blobs,
    inputs: Inputs,
) -> str | None:
    """The sha256 of the weights that the spec names, checked before anything is recorded."""
    path = search.spec.model.initial.weights
    if path is None:
        return None
    done = journal.records.get("000-initial/00-aggregated")
    if done is not None:
        return str(done.value["weights"])
    blob = inputs.weights()
    wrong = None
    try:
        vector = decode(blob)
    except Corrupt as error:
        wrong = str(error)
    else:
        size = sum(math.prod(shape) for shape in space.shapes(network.widths).values())
        if vector.size != size:
            wrong = f"holds {vector.size} numbers; this network has {size}"
        elif not np.isfinite(vector).all():
            wrong = "holds NaN or infinity"
    if wrong is not None:
        raise DataError(
            f"spec.model.initial.weights: {path}: {wrong}; must be a rung-NN.safetensors of "
            "the same network"
        )
    return blobs.put(blob, durable=True)


async def _trained(
    network: Architecture,
    macs: int,
    training: InitialTraining,
    seed: int,
    shards: Shards,
    federation: Federation,
) -> Outcome:
    """Federated averaging from scratch."""
    initial = await federation.do(
        Task(
            id="000-initialise",
            kind="initialise",
            client=CLOUD,
            params={"architecture": network.model_dump()},
            seed=derive_seed(seed, "initialise"),
        )
    )
    outcome = Outcome(initial.outputs["weights"])
    names = sorted(shards.clients)
    for number in range(1, training.rounds + 1):

        def cohort(attempt: int, number: int = number) -> Cohort:
            drawn = derive_seed(seed, "cohort", "initial", number, attempt)
            return Cohort(draw_clients(names, training.clients_per_round, drawn))

        outcome = await federation.play(
            Round(
                iteration=0,
                phase="initial",
                candidate="",
                round=number,
                architecture=network,
                weights=outcome.weights,
                macs=macs,
                training=training_params(training),
                cohort=cohort,
            )
        )
        if outcome.failed:
            why = federation.last_failure
            raise SearchFailed(
                "QuorumMissed",
                f"round {number} of the initial training had no quorum on three cohorts"
                + (f"; last: {why}" if why else ""),
            )
    return outcome


def _words(numerics: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(numerics.items()))
