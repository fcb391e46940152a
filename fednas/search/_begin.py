"""What every search begins with: data cut into shards, the network traced, the start on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fednas.data import Shards
from fednas.errors import BadInput, DataError, OtherNumerics, OtherSpec
from fednas.federation import FINAL, INITIAL, longest_processing_time, round_robin
from fednas.models import Architecture, encode, starting_network
from fednas.objective import OBJECTIVES
from fednas.search._entries import Consented, Started
from fednas.search._parts import ClientInfo, Layer
from fednas.search._recorder import Recorder
from fednas.search._start_file import StartFile
from fednas.search._strategy import Strategy
from fednas.search._tables import keep_tables, read_tables
from fednas.search._view import View
from fednas.space import Space, costs, resource
from fednas.spec import FederatedSearch, clients, differences, identity
from fednas.store import Blobs, digest_of
from fednas.work import TRACE, TRAIN, Task, TaskResult, Trace, Train

__all__ = [
    "DataRead",
    "Inputs",
    "Start",
    "begin",
    "check_batches",
    "check_identity",
    "check_target",
    "make_groups",
]


@dataclass(frozen=True)
class Inputs:
    """What a search reads from outside, as callables so that a replay need not read it again.

    Parameters
    ----------
    shards : callable
        Cuts the data set into shards in the store (or finds them there).
    weights : callable
        Reads the file of the spec's start weights; asked only where the spec names one.
    table : callable
        The field that names it, and a class's ``latencyTable`` -> the bytes that lie there.
    """

    shards: Callable[[], Shards]
    weights: Callable[[], StartFile]
    table: Callable[[str, str], bytes]


@dataclass(frozen=True)
class DataRead:
    """What a search trains on, in one line for people, and what may not be meant."""

    summary: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """What the rest of a search is built on.

    Parameters
    ----------
    network : Architecture
        The starting network: that of the spec, or of the rung that it starts from.
    weights : str or None
        sha256 of its weights, where the spec names some.
    shards : Shards
    space : Space
    space_digest : str
        sha256 of the space's blob, which tasks of the kind ``derive`` read.
    groups : tuple of tuple of str
        The clients of each group.
    """

    network: Architecture
    weights: str | None
    shards: Shards
    space: Space
    space_digest: str
    groups: tuple[tuple[str, ...], ...]


async def begin(
    search: FederatedSearch,
    *,
    do: Callable[[Task], Awaitable[TaskResult]],
    told: Callable[[DataRead], None],
    recorder: Recorder,
    blobs: Blobs,
    tables: Blobs,
    inputs: Inputs,
    strategy: Strategy,
    accept_new_numerics: bool,
) -> Start:
    """Cut the data into shards, trace the network, and record the start.

    Raises
    ------
    OtherNumerics
        The search was begun where training gives other bits.
    BadInput
        The journal was begun on other data or with other start weights, or these do not fit;
        nothing was recorded.
    """
    spec, view = search.spec, recorder.view
    shards = await asyncio.to_thread(inputs.shards)
    told(DataRead(shards.summary(), shards.warnings()))
    given = await asyncio.to_thread(_given, search, view, inputs)
    if view.start is not None:
        network = view.start.architecture
    else:
        network = starting_network(spec, shards.input, shards.classes)
        network = network if given is None else given.network(network)
    traced = await do(TRACE.task("0000/trace", Trace(architecture=network)))
    space_digest = traced.outputs["space"]
    space = Space.from_json(await asyncio.to_thread(blobs.get, space_digest))
    kept = await asyncio.to_thread(keep_tables, search, view.start, tables, inputs.table)
    space = space.priced(
        spec.training.batch_size, read_tables(search, kept, tables, space.operations)
    )
    found = await asyncio.to_thread(blobs.get, traced.outputs["numerics"])
    numerics: dict[str, str] = json.loads(found)
    check_batches(search, space)
    check_target(search, space, network)
    if view.start is not None and view.start.data != shards.digest:
        raise DataError(
            "spec.data.source: these are not the data that this search began with; "
            "put them back or start a new search"
        )
    shapes = space.shapes(network.widths)
    weights = await asyncio.to_thread(_kept_weights, given, shapes, view, blobs)
    groups = make_groups(search, strategy, space, shards)
    if view.start is None:
        await recorder.write(
            _started(search, network, space, shards, groups, numerics, weights, kept, strategy)
        )
    else:
        await _check_numerics(recorder, numerics, accept_new_numerics)
    return Start(network, weights, shards, space, space_digest, groups)


def check_identity(search: FederatedSearch, view: View) -> None:
    """`OtherSpec` if the journal was begun with another spec."""
    if view.start is None:
        return
    changed = differences(view.start.spec, identity(search))
    if changed:
        raise OtherSpec(
            "this search was started with another spec; undo the change or start a new one:\n  "
            + "\n  ".join(changed)
        )


async def _check_numerics(
    recorder: Recorder, numerics: Mapping[str, str], accept_new_numerics: bool
) -> None:
    view = recorder.view
    assert view.start is not None
    before = view.start.numerics
    known = {before["digest"], *(consent.numerics["digest"] for consent in view.consents)}
    if numerics["digest"] in known:
        return
    if not accept_new_numerics:
        raise OtherNumerics(
            f"this search began with {_words(before)}, here is {_words(numerics)}, where training "
            "gives other bits: go on where it began, or consent (--accept-new-numerics; in a "
            "cluster spec.acceptNewNumerics: true)"
        )
    await recorder.write(Consented(numerics=dict(numerics)))


def _words(numerics: Mapping[str, str]) -> str:
    parts = [f"{key} {value}" for key, value in sorted(numerics.items()) if key != "digest"]
    return f"{', '.join(parts)} ({numerics['digest'][:12]})"


def check_batches(search: FederatedSearch, space: Space) -> None:
    """Batch normalisation over one value a channel has no variance: torch refuses to train."""
    spec = search.spec
    sizes = {"training": spec.training.batch_size}
    if spec.model.initial.training is not None:
        sizes["model.initial.training"] = spec.model.initial.training.batch_size
    if spec.final_training is not None:
        sizes["finalTraining"] = spec.final_training.batch_size
    for path, size in sizes.items():
        if size < space.min_batch:
            raise BadInput(
                f"spec.{path}.batchSize: got {size}; must be at least {space.min_batch}: the "
                f"batch normalisation of {spec.model.family} would see one value a channel"
            )


def check_target(search: FederatedSearch, space: Space, network: Architecture) -> None:
    """A start that meets the target already leaves nothing to search."""
    target = search.spec.target.bound
    counted = resource(target.resource)
    full = counted.cost(space, network.widths)
    if target.share_of(full) >= 1:
        path, value = target.written
        raise BadInput(
            f"spec.target.{path}: got {value:.15g}; must be less than what the starting network "
            f"takes, {counted.words(full)}"
        )


def make_groups(
    search: FederatedSearch, strategy: Strategy, space: Space, shards: Shards
) -> tuple[tuple[str, ...], ...]:
    """Even in number where all clients have as many samples, else even in samples."""
    num_clients = len(shards.clients)
    count = strategy.num_groups(space, num_clients)
    if not 1 <= count <= num_clients:  # one's own strategy may say what cannot be
        raise BadInput(
            f"spec.strategy.{search.spec.strategy.chosen[0]}: wants {count} groups of clients; "
            "must be at least 1 and at most the number of clients of all deviceClasses, "
            f"{num_clients}"
        )
    if search.spec.data.partition.iid is not None:
        return round_robin([client.name for client in clients(search)], count)
    samples = {name: shard.samples for name, shard in shards.clients.items()}
    return longest_processing_time(samples, count)


def _started(
    search: FederatedSearch,
    network: Architecture,
    space: Space,
    shards: Shards,
    groups: tuple[tuple[str, ...], ...],
    numerics: Mapping[str, str],
    weights: str | None,
    tables: Mapping[str, str],
    strategy: Strategy,
) -> Started:
    objective = OBJECTIVES[search.spec.objective]
    params = Train.by(search.spec.training, search.spec.data, network)
    return Started(
        name=search.metadata.name,
        spec=identity(search),
        numerics=dict(numerics),
        data=shards.digest,
        weights=weights,
        tables=dict(tables) or None,
        input=shards.input,
        classes=shards.classes,
        floor=objective.floor(shards.classes, shards.majority),
        tested=shards.test is not None,
        architecture=network,
        costs=costs(space, network.widths),
        layers=tuple(Layer(name=group.name, width=group.width) for group in space.groups),
        left_out=tuple(left.model_dump() for left in space.left_out),
        groups=groups,
        clients={
            client.name: ClientInfo(
                device_class=client.device_class, samples=shards.clients[client.name].samples
            )
            for client in clients(search)
        },
        phases=(INITIAL, *strategy.phases, *((FINAL,) if search.spec.goes_on else ())),
        round_samples=sum(
            TRAIN.samples(params, shard.samples) for shard in shards.clients.values()
        ),
    )


def _given(search: FederatedSearch, view: View, inputs: Inputs) -> StartFile | None:
    """The file of start weights; a search that has evaluated them needs it no more."""
    if search.spec.model.initial.weights is None:
        return None
    try:
        return inputs.weights()
    except DataError:
        if view.start is not None and view.rounds:
            return None
        raise


def _kept_weights(
    given: StartFile | None, shapes: Mapping[str, tuple[int, ...]], view: View, blobs: Blobs
) -> str | None:
    """The sha256 of the start weights, checked before anything is recorded.

    Where the file of a search that is continued is there, it must be the same.
    """
    before = view.start.weights if view.start is not None else None
    if given is None:
        return before
    try:
        blob = encode(given.vector(shapes))
    except DataError:
        if before is None:
            raise
        blob = b""
    digest = digest_of(blob)
    if before is not None and digest != before:
        raise DataError(
            f"spec.model.initial.weights: {given.path}: these are not the weights that this search "
            "began with; put them back or start a new search"
        )
    return blobs.put(blob, durable=True)
