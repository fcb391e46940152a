"""A search as its journal tells it: ladder, decisions, ledger, progress.

Everything that a person is shown, by the command line, the operator or MLflow, is this view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fednas.errors import Corrupt
from fednas.models import Architecture
from fednas.search._ledger import Ledger, make_ledger
from fednas.spec import FederatedSearch
from fednas.store import Record

__all__ = ["Rung", "View", "select"]


@dataclass(frozen=True)
class Rung:
    """A trained network of the ladder; rung 0 is the starting network.

    ``accuracy`` is on the test rows where the data set has some, else on the validation rows;
    ``sha256`` that of its weight blob; ``share`` its MACs as a share of the start's.
    """

    rung: int
    accuracy: float
    validation_accuracy: float
    macs: int
    params: int
    share: float
    sha256: str
    architecture: Architecture


def select(ladder: Iterable[Rung], share: float) -> Rung | None:
    """The largest rung within a budget: FLRA's deployment selector (arXiv 2106.11570)."""
    fitting = [rung for rung in ladder if rung.share <= share]
    return max(fitting, key=lambda rung: (rung.macs, -rung.rung)) if fitting else None


class View:
    """A pure function of journal records."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = {record.key: record for record in records}

    def _values(self, suffix: str) -> list[Mapping[str, Any]]:
        return [self.records[key].value for key in sorted(self.records) if key.endswith(suffix)]

    @property
    def start(self) -> Mapping[str, Any] | None:
        record = self.records.get("000-start")
        return record.value if record else None

    @property
    def end(self) -> Mapping[str, Any] | None:
        record = self.records.get("zzz-end")
        return record.value if record else None

    @cached_property
    def ladder(self) -> list[Rung]:
        """The rungs in order; each smaller than the one before."""
        values = self._values("/rung")
        if [value["rung"] for value in values] != list(range(len(values))):
            raise Corrupt(f"journal: a rung is missing; has {[v['rung'] for v in values]}")
        return [
            Rung(
                rung=value["rung"],
                accuracy=value["correct"] / value["total"],
                validation_accuracy=value["validationCorrect"] / value["validationTotal"],
                macs=value["macs"],
                params=value["params"],
                share=value["macs"] / values[0]["macs"],
                sha256=value["weights"],
                architecture=Architecture.model_validate(value["architecture"]),
            )
            for value in values
        ]

    @property
    def ladder_rows(self) -> list[dict[str, Any]]:
        """The ladder as JSON values."""
        return [
            {
                "rung": rung.rung,
                "accuracy": rung.accuracy,
                "validationAccuracy": rung.validation_accuracy,
                "macs": rung.macs,
                "params": rung.params,
                "share": rung.share,
                "sha256": rung.sha256,
                "file": f"rung-{rung.rung:02}.safetensors",
                "architecture": rung.architecture.model_dump(),
            }
            for rung in self.ladder
        ]

    @cached_property
    def decisions(self) -> list[dict[str, Any]]:
        """Every candidate's fate with its evidence, one row each.

        ``accuracy`` is the best so far on the validation rows; ``rank`` that of the early drop;
        ``outcome`` is ``winner``, ``kept``, ``dropped`` or ``failed``.
        """
        rows = []
        for dropped in self._values("/dropped"):
            iteration = dropped["iteration"]
            if f"{iteration:03}/generated" not in self.records:
                raise Corrupt(
                    f"journal: {iteration:03}/dropped is there, but no {iteration:03}/generated"
                )
            generated = self.records[f"{iteration:03}/generated"].value["candidates"]
            layers = {candidate["candidate"]: candidate for candidate in generated}
            winner = self.records.get(f"{iteration:03}/winner")
            final = {row["candidate"]: row for row in winner.value["ranking"]} if winner else {}
            for ranked in dropped["ranking"]:
                name = ranked["candidate"]
                won = winner is not None and winner.value["winner"] == name
                lost = ranked["kept"] and bool(final) and name not in final
                failed = ranked["failed"] or lost
                fate = "failed" if failed else "kept" if ranked["kept"] else "dropped"
                rows.append(
                    {
                        "iteration": iteration,
                        "layer": layers[name]["layer"],
                        "candidate": name,
                        "widthBefore": layers[name]["widthBefore"],
                        "widthAfter": layers[name]["widthAfter"],
                        "accuracy": final.get(name, ranked)["accuracy"],
                        "accuracyAtDrop": ranked["accuracy"],
                        "macs": ranked["macs"],
                        "rank": ranked["rank"],
                        "finalRank": final[name]["rank"] if name in final else None,
                        "kept": ranked["kept"],
                        "outcome": "winner" if won else fate,
                    }
                )
        return rows

    @cached_property
    def rounds(self) -> list[dict[str, Any]]:
        """Every evaluated aggregate, one row each, in the order of iterations and rounds."""
        phases = {"initial": 0, "cut": 1, "pre": 2, "post": 3}
        rows = []
        for key, record in self.records.items():
            if key.endswith("-aggregated"):
                value = record.value
                closed = self.records.get(key.removesuffix("-aggregated") + "-closed")
                rows.append(
                    {
                        "iteration": value["iteration"],
                        "phase": value["phase"],
                        "candidate": value["candidate"],
                        "round": value["round"],
                        "clients": len(closed.value["updates"]) if closed else 0,
                        "missing": len(closed.value["missing"]) if closed else 0,
                        "accuracy": value["correct"] / value["total"],
                        "weights": value["weights"],
                        "time": record.time,
                    }
                )
        return sorted(
            rows, key=lambda r: (r["iteration"], phases[r["phase"]], r["round"], r["candidate"])
        )

    @cached_property
    def ledger(self) -> Ledger:
        return make_ledger(self.records)

    def selected(self, search: FederatedSearch) -> dict[str, Rung | None]:
        """Device class -> the largest rung within its budget (unset: the search's target)."""
        target = search.spec.target.macs.share
        return {
            device.name: select(self.ladder, device.budget.macs.share if device.budget else target)
            for device in search.spec.device_classes
        }
