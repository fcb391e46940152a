"""What a run says beside its metrics: params and tags from the spec, tables from the journal."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fednas._version import __version__
from fednas.search import Ended, Started, View
from fednas.space import resource
from fednas.spec import API_VERSION, KIND, FederatedSearch, identity_digest, load_spec
from fednas.tracking._figure import figure

__all__ = ["description", "files", "flatten", "privacy_tags", "search_of", "start_tags"]


def flatten(spec: Mapping[str, Any]) -> dict[str, str]:
    """Params by their path in the spec: ``strategy.netAdapt.firstStep`` -> ``0.05``.

    An element of a list has its ``name`` in the path: ``deviceClasses.phone.clients``. A member of
    a union that has no settings of its own is an empty object, ``{}``.
    """
    return dict(_leaves("", spec))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, inner in enumerate(value):
            named = isinstance(inner, Mapping) and "name" in inner
            name = inner["name"] if named else index
            rest = {k: v for k, v in inner.items() if k != "name"} if named else inner
            yield from _leaves(f"{path}.{name}", rest)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def start_tags(start: Started) -> dict[str, str]:
    """Tags from the journal's first entry."""
    return {
        "fednas.version": __version__,
        "fednas.specDigest": identity_digest(search_of(start)),
        "fednas.numerics": json.dumps(start.numerics, sort_keys=True),
        "mlflow.source.name": "fednas",
        "mlflow.note.content": description(start, None),
    }


def privacy_tags(view: View) -> dict[str, str]:
    """What was spent of the promise to the clients, where there is one."""
    spent = view.privacy
    if spent is None:
        return {}
    return {
        "fednas.epsilon": f"{spent['epsilon']:.4g}",
        "fednas.delta": f"{spent['delta']:g}",
    }


def description(start: Started, end: Ended | None) -> str:
    """Markdown that heads the run's page."""
    search = search_of(start)
    classes = Counter(client.device_class for client in start.clients.values())
    who = ", ".join(f"{count} {name}" for name, count in classes.items())
    target = search.spec.target.bound
    full = start.costs[target.resource]
    counted = resource(target.resource)
    text = (
        f"Federated search **{start.name}**: {search.spec.model.family} on "
        f"{search.spec.data.source}, clients: {who}; down to {target.share_of(full):g} of "
        f"the start's {counted.label}, {counted.words(full)}.\n\n"
        "Every candidate's fate: `decisions.json`. Every round: `rounds.json`. "
        "The networks: `ladder.json`. What it cost the clients: `ledger.json`."
    )
    if end is not None:
        text += f"\n\n**{end.reason}**: {end.message}"
    return text


def search_of(start: Started) -> FederatedSearch:
    """The search that a journal's first entry tells of."""
    return load_spec(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": start.name},
            "spec": start.spec,
        }
    )


def files(view: View) -> tuple[dict[str, bytes], list[str]]:
    """Artifacts by name, and which of them are tables: the figure follows once there are rungs."""
    assert view.start is not None
    tables = {
        "decisions.json": _table(view.decisions, _DECISION),
        "rounds.json": _table([_round(row) for row in view.rounds]),
    }
    others = {"ledger.json": json.dumps(view.ledger.to_dict(), indent=1).encode()}
    if view.ladder:
        search = search_of(view.start)
        tables["ladder.json"] = _table([_rung(row) for row in view.ladder_rows])
        others["figure.png"] = figure(view, search)
        others["figure.svg"] = figure(view, search, format="svg")
    return tables | others, list(tables)


_DECISION = ("iteration", "layer", "widthBefore", "widthAfter", "outcome", "rank", "accuracy")
"""The columns that the UI shows without scrolling."""


def _round(row: Mapping[str, Any]) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["time"]))
    return {**row, "time": at}


def _rung(row: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture is shown by its widths."""
    widths = row["architecture"]["choices"]["widths"]
    cells = {key: value for key, value in row.items() if key != "architecture"}
    return {**cells, "widths": " ".join(map(str, widths))}


def _table(rows: Sequence[Mapping[str, Any]], first: Sequence[str] = ()) -> bytes:
    """Rows as ``mlflow.log_table`` writes them, which needs pandas for it."""
    columns = list(dict.fromkeys([*first, *(column for row in rows for column in row)]))
    data = [[row.get(column) for column in columns] for row in rows]
    return json.dumps({"columns": columns, "data": data}).encode()
