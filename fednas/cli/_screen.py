"""What ``run`` and ``report`` end with: what came out, for whom, and what it cost."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fednas.result import Result
from fednas.search import Rung
from fednas.space import resource

__all__ = ["duration", "last_screen", "si"]


def last_screen(result: Result) -> str:
    """A line for the search, one for each device class, one for the cost."""
    view, search = result.view, result.search
    if not view.ladder:
        return f"{search.metadata.name}  has no network yet"
    lines = [_headline(result)]
    start = view.ladder[0].accuracy
    label = resource(view.target.resource).label
    width = max(len(device.name) for device in search.spec.device_classes)
    for name, rung in view.selected(search).items():
        if rung is None:
            lines.append(f"{name:{width}}  no rung is small enough for its budget")
            continue
        file = result.store.uri(result.layout.ladder + rung.file)
        lines.append(
            f"{name:{width}}  rung {rung.rung:2}  {rung.share:.2f}x {label}  "
            f"{100 * rung.accuracy:.1f} % (start {100 * start:.1f}){_worth(rung)}  {_nearby(file)}"
        )
    lines += _advice(view.selected(search).values())
    lines.append(_cost(result))
    return "\n".join(lines)


def _headline(result: Result) -> str:
    view = result.view
    if view.end is None:
        state = "Interrupted" if view.entries else "Pending"
    elif view.end.failed:
        state = f"Failed ({view.end.reason})"
    elif view.end.reason == "Completed":
        state = "Complete"
    else:
        state = f"Complete ({view.end.reason})"
    smallest = view.ladder[-1].share
    label = resource(view.target.resource).label
    return (
        f"{result.search.metadata.name}  {state}  {len(view.ladder)} models, "
        f"1.00x .. {smallest:.2f}x {label}, {duration(view.latest - view.began)}"
    )


def _worth(rung: Rung) -> str:
    """What the search has made of it, beside what costs nothing."""
    if not rung.rung or rung.advantage is None:
        return ""
    where = "over" if rung.advantage >= 0 else "below"
    searched = f", as searched {100 * rung.searched_accuracy:.1f}" if rung.trained else ""
    return f"{searched}, {100 * abs(rung.advantage):.1f} {where} thinning alike"


def _advice(chosen: Iterable[Rung | None]) -> list[str]:
    if not any(rung and rung.rung and (rung.advantage or 0) < 0 for rung in chosen):
        return []
    return [
        "a network thinned alike, which needs no search, does better: smaller steps (firstStep), "
        "order: divergence, refit: true or more validation samples would help"
    ]


def _cost(result: Result) -> str:
    ledger = result.ledger
    clients = sum(device.clients for device in result.search.spec.device_classes)
    cost = ledger.total
    if not cost.macs:
        return "the clients paid nothing: candidates were ranked in the cloud"
    line = (
        f"each client: {si(cost.macs / clients)}MAC, "
        f"{si((cost.bytes_down + cost.bytes_up) / clients)}B"
    )
    factors = ledger.factors
    if factors:
        line += (
            f" - {factors['total']:.1f}x less than naive = "
            f"{factors['partialClients']:.1f}x groups * {factors['screening']:.1f}x screening * "
            f"{factors['earlyDrop']:.1f}x early drop * "
            f"{factors['rounds']:.1f}x rounds"
        )
    return line


def _nearby(uri: str) -> str:
    """A path from here, where that is shorter."""
    return uri if "://" in uri else min(uri, os.path.relpath(uri), key=len)


def si(number: float) -> str:
    """To three digits, with the prefix of its unit: ``1.23 G``."""
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} T"


def duration(seconds: float) -> str:
    """In the two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
