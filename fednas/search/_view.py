"""A search as its journal tells it: ladder, decisions, ledger, progress.

Everything that a person is shown, by the command line, the operator or MLflow, is this view. It is
a fold: each entry is applied once, in constant time, and nothing is counted anew when it is read.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, TypeVar

from fednas.errors import Corrupt
from fednas.federation import FINAL, INITIAL, RoundId
from fednas.models import Architecture
from fednas.objective import OBJECTIVES, Objective
from fednas.search._entries import (
    Added,
    Closed,
    Computed,
    Consented,
    Dropped,
    Ended,
    Entry,
    Generated,
    OfRound,
    Scored,
    Started,
    Tuned,
    Won,
)
from fednas.search._ledger import Ledger
from fednas.search._parts import Ranked
from fednas.spec import Bound, FederatedSearch, Target

__all__ = ["Recorded", "Rung", "View", "rung_file", "select"]

E = TypeVar("E", bound=OfRound)


@dataclass(frozen=True)
class Recorded:
    """An entry, and seconds since the epoch when it was written."""

    entry: Entry
    time: float


@dataclass(frozen=True)
class Rung:
    """A trained network of the ladder; rung 0 is the starting network.

    ``accuracy`` is the score on the test rows where the data set has some, else on the validation
    rows; ``costs`` what it costs in every resource; ``share`` its cost in the target's
    ``resource`` as a share of the start's; ``sha256`` that of its weight blob.
    ``searched_accuracy`` is that before the final training, where there was one, and
    ``baseline_accuracy`` that of the start thinned alike to the same cost, which costs nobody
    anything.
    """

    rung: int
    accuracy: float
    validation_accuracy: float
    validation_loss: float
    costs: Mapping[str, int]
    resource: str
    share: float
    sha256: str
    architecture: Architecture
    searched_accuracy: float
    baseline_accuracy: float | None = None
    trained: bool = False

    @property
    def file(self) -> str:
        """The name of its weights beside the ladder."""
        return rung_file(self.rung, trained=self.trained)

    @property
    def advantage(self) -> float | None:
        """How much better the search has made it than thinning alike."""
        if self.baseline_accuracy is None:
            return None
        return self.searched_accuracy - self.baseline_accuracy

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one sample."""
        return self.costs["macs"]

    @property
    def params(self) -> int:
        """Trainable values."""
        return self.costs["params"]

    @property
    def cost(self) -> int:
        """In the target's resource."""
        return self.costs[self.resource]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase; a cost by the name of its resource."""
        return {
            "rung": self.rung,
            "accuracy": self.accuracy,
            "searchedAccuracy": self.searched_accuracy,
            "baselineAccuracy": self.baseline_accuracy,
            "validationAccuracy": self.validation_accuracy,
            "validationLoss": self.validation_loss,
            **self.costs,
            "share": self.share,
            "sha256": self.sha256,
            "file": self.file,
            "architecture": self.architecture.model_dump(),
        }


def rung_file(rung: int, *, trained: bool = False) -> str:
    """The name of a rung's weights beside the ladder, as searched or trained on."""
    return f"rung-{rung:02}{'-final' if trained else ''}.safetensors"


def select(ladder: Sequence[Rung], budget: Bound) -> Rung | None:
    """The rung within a budget of the least loss on the validation rows, of equals the smaller.

    FLRA's deployment selector (arXiv 2106.11570). The largest is not always the best, and accuracy
    on few rows cannot tell neighbours apart. Those that were trained after the search come first:
    the others look better on these rows than they are, for by them they were chosen.

    Parameters
    ----------
    ladder : sequence of Rung
        From the starting network on.
    budget : Bound
        In whichever resource, be it the target's or not.
    """
    if not ladder:
        return None
    name = budget.resource
    full = ladder[0].costs[name]
    most = budget.share_of(full)
    fitting = [rung for rung in ladder if rung.costs[name] / full <= most]
    fitting = [rung for rung in fitting if rung.trained] or fitting
    return min(fitting, key=lambda rung: (rung.validation_loss, -rung.rung), default=None)


@dataclass
class _Round:
    """What is known of a phase of an iteration that is under way."""

    generated: Generated | None = None
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Candidate -> its row of `View.decisions`."""


class View:
    """A fold over the entries of one search.

    Attributes
    ----------
    start, end : Started, Ended or None
    entries : dict of str to Entry
        By key.
    began, latest : float
        Times of the first and of the last entry.
    ladder : list of Rung
        Each smaller than the one before; some trained on after the search.
    searched : list of Rung
        The same as the search left them.
    added : list of Added
        Their entries.
    ledger : Ledger
    iteration : int
        The one under way, or the last.
    phase : str
        Of the last round that closed or was scored.
    rounds_closed : int
    lock : RLock
        Held while an entry is applied; whoever reads from another thread holds it too.
    """

    def __init__(self, recorded: Iterable[Recorded] = ()) -> None:
        self.start: Started | None = None
        self.end: Ended | None = None
        self.began = self.latest = 0.0
        self.entries: dict[str, Entry] = {}
        self.ladder: list[Rung] = []
        self.searched: list[Rung] = []
        self.added: list[Added] = []
        self.ledger = Ledger()
        self.consents: list[Consented] = []
        self.iteration = 0
        self.phase = ""
        self.rounds_closed = 0
        self.lock = threading.RLock()
        self._target: Bound | None = None
        self._fates: Counter[str] = Counter()
        self._decisions: list[dict[str, Any]] = []
        self._rounds: list[tuple[tuple[int, ...], str, dict[str, Any]]] = []
        self._open = _Round()
        for one in recorded:
            self.apply(one)

    # -- the fold --------------------------------------------------------------------------------

    def apply(self, recorded: Recorded) -> None:
        """Take one entry more; each once, in an order that `Entry.order` allows.

        Raises
        ------
        Corrupt
            An entry is missing that this one builds on.
        """
        entry, time = recorded.entry, recorded.time
        with self.lock:
            self.entries[entry.key] = entry
            self.began = min(self.began or time, time)
            self.latest = max(self.latest, time)
            self._apply(entry, time)

    def _apply(self, entry: Entry, time: float) -> None:
        if isinstance(entry, OfRound) and entry.id.phase != FINAL:
            # An iteration may begin without candidates.
            self.iteration = max(self.iteration, entry.id.iteration)
        match entry:
            case Started():
                self.start = entry
                self._target = Target.model_validate(entry.spec["target"]).bound
                self.ledger.start(entry)
            case Consented():
                self.consents.append(entry)
            case Generated():
                self.iteration = entry.iteration
                self._open = _Round(entry)
                self.ledger.generate(entry)
            case Closed():
                self.phase = entry.id.phase
                self.rounds_closed += 1
                self.ledger.close(entry)
            case Scored():
                self._score(entry, time)
            case Computed():
                self.phase = entry.id.phase
            case Dropped():
                self._drop(entry)
            case Won():
                self._win(entry)
            case Added():
                self._add(entry)
            case Tuned():
                self._tune(entry)
            case Ended():
                self.end = entry

    def _score(self, entry: Scored, time: float) -> None:
        closed = self.get(Closed, entry.id)
        if entry.id.number and closed is None:
            raise Corrupt(f"journal: {entry.key} is there, but no {Closed.key_of(entry.id)}")
        self.phase = entry.id.phase
        row = {
            "iteration": entry.id.iteration,
            "phase": entry.id.phase,
            "candidate": entry.id.subject,
            "round": entry.id.number,
            "clients": closed.totals.clients if closed else 0,
            "missing": len(closed.missing) if closed else 0,
            "accuracy": self.objective.score(entry.sums),
            "weights": entry.blobs["weights"],
            "time": time,
        }
        self._rounds.append((entry.order(self.phases)[:3], entry.id.subject, row))

    def _drop(self, entry: Dropped) -> None:
        generated = self._open.generated
        if generated is None or generated.iteration != entry.id.iteration:
            raise Corrupt(f"journal: {entry.key} is there, but no candidates of that iteration")
        fate = "dropped" if entry.id.number else "screened"
        for ranked in entry.ranking:
            row = self._row(generated, ranked)
            row |= {"rank": ranked.rank, "kept": ranked.kept}
            self._settle(row, "failed" if ranked.failed else "kept" if ranked.kept else fate)
        self.ledger.drop(entry)

    def _win(self, entry: Won) -> None:
        generated = self._open.generated
        if generated is not None:
            for ranked in entry.ranking:
                row = self._row(generated, ranked)
                row |= {"finalRank": ranked.rank}
                won = ranked.candidate == entry.winner
                self._settle(row, "winner" if won else "failed" if ranked.failed else "kept")
        self._open.generated = None
        self.ledger.win(entry)

    def _row(self, generated: Generated, ranked: Ranked) -> dict[str, Any]:
        """The row of a candidate, its accuracy brought up to date."""
        row = self._open.rows.get(ranked.candidate)
        if row is None:
            offered = {candidate.name: candidate for candidate in generated.candidates}
            if ranked.candidate not in offered:
                raise Corrupt(
                    f"journal: a choice of iteration {generated.iteration} names an unknown "
                    f"{ranked.candidate}"
                )
            changes = list(offered[ranked.candidate].changes.items())
            layer, change = changes[0] if len(changes) == 1 else (ranked.candidate, None)
            row = {
                "iteration": generated.iteration,
                "layer": layer,
                "candidate": ranked.candidate,
                "widthBefore": change.before if change else None,
                "widthAfter": change.after if change else None,
                "accuracy": ranked.score,
                "loss": None,
                "macs": ranked.costs["macs"],
                "cost": ranked.costs[self.target.resource],
                "rank": None,
                "finalRank": None,
                "kept": not ranked.failed,
                "outcome": "",
            }
            self._open.rows[ranked.candidate] = row
            self._decisions.append(row)
        if not ranked.failed:
            row |= {"accuracy": ranked.score, "loss": self.objective.loss(ranked.sums)}
        return row

    def _settle(self, row: dict[str, Any], fate: str) -> None:
        self._fates[row["outcome"]] -= 1
        self._fates[fate] += 1
        row["outcome"] = fate

    def _add(self, entry: Added) -> None:
        if self.start is None or entry.iteration != len(self.ladder):
            raise Corrupt(
                f"journal: a rung is missing; has {[r.rung for r in self.ladder]}, and "
                f"{entry.iteration} next"
            )
        score, baseline = self.objective.score, entry.baseline
        rung = Rung(
            rung=entry.iteration,
            accuracy=score(entry.sums),
            validation_accuracy=score(entry.validation),
            validation_loss=self.objective.loss(entry.validation),
            costs=entry.costs,
            resource=self.target.resource,
            share=entry.costs[self.target.resource] / self.full,
            sha256=entry.blobs["weights"],
            architecture=entry.architecture,
            searched_accuracy=score(entry.sums),
            baseline_accuracy=score(baseline.sums) if baseline else None,
        )
        self.added.append(entry)
        self.searched.append(rung)
        self.ladder.append(rung)

    def _tune(self, entry: Tuned) -> None:
        if entry.rung >= len(self.ladder):
            raise Corrupt(f"journal: {entry.key} is there, but no rung {entry.rung}")
        self.ladder[entry.rung] = replace(
            self.searched[entry.rung],
            accuracy=self.objective.score(entry.sums),
            validation_accuracy=self.objective.score(entry.validation),
            validation_loss=self.objective.loss(entry.validation),
            sha256=entry.blobs["weights"],
            trained=True,
        )

    # -- what it says ----------------------------------------------------------------------------

    def get(self, kind: type[E], id: RoundId) -> E | None:
        """What is known of a round: its `Closed`, `Scored`, `Computed` or `Dropped`."""
        found = self.entries.get(kind.key_of(id))
        return found if isinstance(found, kind) else None

    def has_begun(self, iteration: int) -> bool:
        """Whether anything of an iteration was recorded: candidates, a round, a computation."""
        return self.iteration >= iteration or self.phase == FINAL

    @property
    def objective(self) -> Objective:
        """By which networks are scored."""
        if self.start is None:
            raise Corrupt("journal: has no start")
        return OBJECTIVES[self.start.spec["objective"]]

    @property
    def target(self) -> Bound:
        """What the search gets down to."""
        if self._target is None:
            raise Corrupt("journal: has no start")
        return self._target

    @property
    def full(self) -> int:
        """Cost of the starting network in the target's resource."""
        assert self.start is not None, "a target comes with a start"
        return self.start.costs[self.target.resource]

    @property
    def phases(self) -> tuple[str, ...]:
        """In order; that of the initial training alone before there is a start."""
        return self.start.phases if self.start else (INITIAL,)

    @property
    def ladder_rows(self) -> list[dict[str, Any]]:
        """The ladder as JSON values."""
        return [rung.to_dict() for rung in self.ladder]

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """Every candidate's fate with its evidence, one row each.

        ``accuracy`` and ``loss`` are those of its best round so far, on the validation rows;
        ``cost`` is in the target's resource; ``rank`` is that of the last drop and ``finalRank``
        that of the end; ``outcome`` is ``winner``, ``kept``, ``screened`` (never trained),
        ``dropped`` or ``failed``.
        """
        return [dict(row) for row in self._decisions]

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """Every evaluated aggregate, one row each, in the order of iterations and rounds."""
        return [dict(row) for _, _, row in sorted(self._rounds, key=itemgetter(0, 1))]

    @property
    def fates(self) -> Mapping[str, int]:
        """Outcome -> number of candidates."""
        return self._fates

    @property
    def active(self) -> int:
        """Candidates that are in training now."""
        if self.end is not None or self._open.generated is None:
            return 0
        rows = self._open.rows
        if not rows:
            return len(self._open.generated.candidates)
        return sum(row["kept"] for row in rows.values())

    def selected(
        self, search: FederatedSearch, ladder: Sequence[Rung] | None = None
    ) -> dict[str, Rung | None]:
        """Device class -> the best rung within its budget (unset: the search's target)."""
        target = search.spec.target.bound
        ladder = self.ladder if ladder is None else ladder
        return {
            device.name: select(ladder, device.bound or target)
            for device in search.spec.device_classes
        }
