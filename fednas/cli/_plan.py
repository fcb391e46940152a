"""``fednas plan``: what a search will cost. Searches nothing, writes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from fednas.cli._options import Data, File, Output, Print, Set, Workers
from fednas.spec import FederatedSearch, load_spec

if TYPE_CHECKING:
    from fednas.planning import Plan
    from fednas.search import Cost, Forecast, Spending

__all__ = ["plan"]


def plan(
    file: File,
    data: Data = None,
    set: Set = None,
    workers: Workers = None,
    output: Print = Output.TEXT,
) -> None:
    """Predict what a search will cost the clients, and how long it would take here.

    Targets, rounds and drops follow from the file, the networks are taken to be thinned alike, and
    the data say who trains on how many samples. Rounds that may end early make it a range.
    """
    search = load_spec(file, set or ())
    for warning in search.spec.warnings():
        typer.echo(f"warning: {warning}", err=True)

    from fednas import planning

    found = planning.plan(search, data=data, workers=workers)
    if output is Output.JSON:
        typer.echo(json.dumps({"name": search.metadata.name, **found.to_dict()}, indent=2))
        return
    for line in _lines(search, found):
        typer.echo(line)


def _lines(search: FederatedSearch, plan: Plan) -> list[str]:
    """The schedule, what it costs, in all and each client, beside naive, and the time."""
    from fednas.cli._screen import duration
    from fednas.space import resource

    found = plan.forecast
    label = resource(found.resource).label
    counts = [len(one.candidates) for one in found.iterations] or [0]
    return [
        f"{search.metadata.name}  {_count(len(found.iterations), 'iteration')} of "
        f"{_range(*map(str, (min(counts), max(counts))))} candidates, 1.00x .. "
        f"{found.shares[-1] if found.shares else 1:.2f}x {label}",
        _search(found),
        _trainings(found),
        _each(found),
        *_private(found.privacy),
        f"time: about {_range(*map(duration, plan.seconds))} on this machine, "
        f"{_count(plan.workers, 'worker')}",
    ]


def _search(found: Forecast) -> str:
    least, most = found.least.search, found.most.search
    if not most.macs:
        return "search: the clients pay nothing: candidates are ranked in the cloud"
    return (
        f"search: {_range(*map(str, found.candidate_rounds))} rounds of one candidate by one of "
        f"{_count(found.groups, 'group')}; {_macs(least.macs, most.macs)}, "
        f"{_bytes(_moved(least), _moved(most))}"
    )


def _trainings(found: Forecast) -> str:
    first, last = found.initial, found.final
    said = ["initial training: none"]
    if first.macs:
        said = [f"initial training: {_macs(first.macs)}, {_bytes(_moved(first))}"]
    if found.taught:
        said.append(f"distillation: {_macs(found.taught)} of the cloud")
    if last.macs:
        said.append(
            f"final training of {_count(found.tuned, 'rung')}: {_macs(last.macs)}, "
            f"{_bytes(_moved(last))}"
        )
    return "; ".join(said)


def _each(found: Forecast) -> str:
    """As the last screen of a run: the initial training, the same in all designs, is not in it."""
    costs = [
        (cost.macs + found.final.macs, _moved(cost) + _moved(found.final))
        for cost in (found.least.search, found.most.search)
    ]
    macs, moved = ([one / found.clients for one in column] for column in zip(*costs, strict=True))
    line = f"each client: {_macs(*macs)}, {_bytes(*moved)}"
    if found.factors is not None:
        line += (
            f" - {_range(*(f'{factor:.1f}' for factor in found.factors))}x less than naive, "
            f"{_macs(found.naive_macs / found.clients)}"
        )
    return line


def _private(spent: Spending | None) -> list[str]:
    """What is spent of the promise to the clients."""
    if spent is None:
        return []
    line = (
        f"privacy: epsilon {_range(*(f'{one:.3g}' for one in spent.epsilon))} of "
        f"{spent.budget:g} at delta {spent.delta:g}: a client is in up to "
        f"{_range(*map(str, spent.releases))} releases"
    )
    if spent.epsilon[1] > spent.budget:
        line += "; the search would end early: raise noiseMultiplier or epsilon, or train less"
    return [line]


def _moved(cost: Cost) -> int:
    """Bytes, down and up."""
    return cost.bytes_down + cost.bytes_up


def _macs(*macs: float) -> str:
    from fednas.cli._screen import si

    return _range(*(f"{si(one)}MAC" for one in macs))


def _bytes(*numbers: float) -> str:
    from fednas.cli._screen import si

    return _range(*(f"{si(one)}B" for one in numbers))


def _range(*ends: str) -> str:
    """``3 .. 4``; one where both are the same in words."""
    return " .. ".join(dict.fromkeys(ends))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
