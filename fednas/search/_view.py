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
from fednas.objective import DIVERGENCE, OBJECTIVES, Objective
from fednas.search._entries import (
    Added,
    Closed,
    Computed,
    Consented,
    Dropped,
    Ended,
    Generated,
    Led,
    Releasing,
    Scored,
    Started,
    Tuned,
    Won,
)
from fednas.search._entry import Entry, OfRound
from fednas.search._lead import Lead
from fednas.search._ledger import Ledger
from fednas.search._parts import Ranked
from fednas.search._rung import Rung, select
from fednas.spec import Bound, FederatedSearch, Target

__all__ = ["Recorded", "View"]

E = TypeVar("E", bound=OfRound)


@dataclass(frozen=True)
class Recorded:
    """An entry, and seconds since the epoch when it was written."""

    entry: Entry
    time: float


@dataclass
class _Round:
    """What is known of a phase of an iteration that is under way."""

    generated: Generated | None = None
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Candidate -> its row of `View.decisions`."""
    led: Led | None = None


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
    leads : list of Lead
        Of the winners that were compared with a runner-up.
    ledger : Ledger
    iteration : int
        The one under way, or the last.
    phase : str
        Of the last round that closed or was scored.
    rounds_closed : int
    releases : Counter of int
        Index of a client among the sorted names -> private aggregates that it may be in.
    attempts : Counter of str
        Key of a round -> how often its private aggregate may have been given out.
    epsilon : float or None
        Spent by the client in the most of them; None where no privacy is promised.
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
        self.leads: list[Lead] = []
        self.ledger = Ledger()
        self.consents: list[Consented] = []
        self.iteration = 0
        self.phase = ""
        self.rounds_closed = 0
        self.releases: Counter[int] = Counter()
        self.attempts: Counter[str] = Counter()
        self.epsilon: float | None = None
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
                self.epsilon = 0.0 if "privacy" in entry.spec else None
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
            case Releasing():
                self.releases.update(entry.indices)
                self.attempts[entry.id.key] += 1
                self.epsilon = max(self.epsilon or 0.0, entry.epsilon)
            case Scored():
                self._score(entry, time)
            case Computed():
                self.phase = entry.id.phase
            case Dropped():
                self._drop(entry)
            case Led():
                self._open.led = entry
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
        if entry.id.number and closed is None and entry.id.phase != FINAL:
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
        generated, led = self._open.generated, self._open.led
        if generated is not None:
            lead = Lead.of(led) if led is not None and led.winner == entry.winner else None
            for ranked in entry.ranking:
                row = self._row(generated, ranked)
                row |= {"finalRank": ranked.rank}
                won = ranked.candidate == entry.winner
                if won and lead is not None:
                    row |= {"lead": lead.mean, "standardError": lead.error}
                    self.leads.append(lead)
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
                "divergence": None,
                "macs": ranked.costs["macs"],
                "cost": ranked.costs[self.target.resource],
                "rank": None,
                "finalRank": None,
                "lead": None,
                "standardError": None,
                "kept": not ranked.failed,
                "outcome": "",
            }
            self._open.rows[ranked.candidate] = row
            self._decisions.append(row)
        if not ranked.failed:
            row |= {"accuracy": ranked.score, "loss": self.objective.loss(ranked.sums)}
            if DIVERGENCE in ranked.sums:
                row["divergence"] = ranked.sums[DIVERGENCE] / ranked.sums["total"]
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
        that of the end; ``lead`` and ``standardError`` are a winner's over the runner-up, where
        there was one (see `Lead`); ``outcome`` is ``winner``, ``kept``, ``screened`` (never
        trained), ``dropped`` or ``failed``.
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

    @property
    def privacy(self) -> dict[str, Any] | None:
        """What was spent of the promise to the clients; None where there is none.

        ``epsilon`` at ``delta``, of the ``budget``, by the client in the most ``releases``;
        ``lost`` is how many releases of all nobody may have seen.
        """
        if self.start is None or self.epsilon is None:
            return None
        promise = self.start.spec["privacy"]["clientLevel"]
        return {
            "epsilon": self.epsilon,
            "delta": promise["delta"],
            "budget": promise["epsilon"],
            "releases": max(self.releases.values(), default=0),
            "lost": sum(self.attempts.values()) - len(self.attempts),
        }

    def selected(
        self, search: FederatedSearch, ladder: Sequence[Rung] | None = None
    ) -> dict[str, Rung | None]:
        """Device class -> the best rung within its budget (unset: the search's target).

        Rungs that have learnt from the validation rows are compared as the search left them.
        """
        target = search.spec.target.bound
        if ladder is None:
            ladder = self.searched if search.spec.distillation else self.ladder
        chosen = {
            device.name: select(ladder, device.bound or target)
            for device in search.spec.device_classes
        }
        return {name: rung and self.ladder[rung.rung] for name, rung in chosen.items()}
