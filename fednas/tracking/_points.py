"""The metrics of a search, as a fold over its journal: few, and those that compare searches first.

What belongs to one layer or one candidate is in the tables (`decisions.json`, `rounds.json`), for a
chart of each would hide the others. MLflow draws a metric over its steps, so the same accuracy is
told over three clocks; and it sorts its sections by what stands before the slash, so what compares
searches comes first.

===================================  ======  =====================================================
``accuracy``                         rung    of each network of the ladder
``accuracy_thinned_alike``           rung    of the start thinned alike to the same cost
``accuracy/by_macs``                 MACs    of each network, over what it costs a device
``accuracy/by_macs_thinned_alike``   MACs    the same of the start thinned alike
``accuracy/by_client_mmacs``         MMACs   over what the mean client has paid until then
``rung/macs``, ``rung/share`` ...    rung    also ``params``, ``validation_accuracy`` and ``_loss``
``rung/accuracy_trained``            rung    after distillation and final training
``cost/...``                         rung    what the clients have paid up to it, all together
``round/accuracy_best``              round   over the candidates of this round; also ``_mean``
``round/candidates``                 round   how many trained in it
``round/clients``                    round   updates that counted; also ``_missing``
``round/loss``                       round   mean loss of the clients' training, by samples; so any
                                             other metric that they report
``privacy/epsilon``                  times   spent by the client that was in so many releases
===================================  ======  =====================================================

A round is a round of training of the whole search: candidates in parallel count once. A metric has
one value per step, and its time is that of the entry it comes from, so exporting twice gives the
same points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from fednas.search import Added, Closed, Entry, Recorded, Releasing, Scored, Tuned, View

__all__ = ["Point", "Points"]

Place = tuple[int, int, int]
"""A round of all its candidates: iteration, phase, number; the first three of `Entry.order`."""


@dataclass(frozen=True)
class Point:
    """One value of one metric. ``time`` is in seconds since the epoch."""

    key: str
    value: float
    step: int
    time: float


@dataclass
class _Round:
    """What is known of a round of training; whole once an entry of a later place comes."""

    step: int
    scores: list[float] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    time: float = 0.0


class Points:
    """Gives the points of each entry; apply entries in the order of the story."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._round: _Round | None = None
        self._rounds = 0
        self._paid = -1
        self._releases = 0

    def apply(self, recorded: Recorded, view: View) -> list[Point]:
        """The points that an entry gives.

        Parameters
        ----------
        recorded : Recorded
        view : View
            To which it, and nothing after it, was applied.
        """
        entry, time = recorded.entry, recorded.time
        found = self._leave() if self._is_over(entry, view.phases) else []
        match entry:
            case Closed() | Scored():
                self._enter(entry.order(view.phases)[:3])
                self._of_round(entry, time, view)
            case Releasing(releases=releases) if releases > self._releases:
                self._releases = releases
                found.append(Point("privacy/epsilon", entry.epsilon, releases, time))
            case Added():
                found += _of_rung(time, view)
                found += self._of_cost(time, view)
            case Tuned():
                rung = view.ladder[entry.rung]
                found.append(Point("rung/accuracy_trained", rung.accuracy, rung.rung, time))
        return found

    def _is_over(self, entry: Entry, phases: tuple[str, ...]) -> bool:
        """Whether the round under way is whole: only what comes after all of it says so.

        A consent, which may be given at any time, does not.
        """
        return self._place is not None and entry.order(phases) > (*self._place, Scored.rank)

    def _enter(self, place: Place) -> None:
        """A round begins where the first of its candidates is heard of."""
        if place == self._place:
            return
        self._place = place
        iteration, _, number = place
        if number:
            self._rounds += 1
        if number or not iteration:
            self._round = _Round(self._rounds)

    def _leave(self) -> list[Point]:
        """The round that went before is whole."""
        whole, self._round, self._place = self._round, None, None
        return [] if whole is None else list(_of_all(whole))

    def _of_round(self, entry: Closed | Scored, time: float, view: View) -> None:
        if self._round is None:
            return
        if isinstance(entry, Closed):
            self._round.closed.append(entry)
        else:
            self._round.scores.append(view.objective.score(entry.sums))
            self._round.time = max(self._round.time, time)

    def _of_cost(self, time: float, view: View) -> Iterator[Point]:
        """Where the clients paid for a rung: the first of several that cost the same is told."""
        assert view.start is not None
        paid = round(view.ledger.search.macs / len(view.start.clients) / 1e6)
        if paid > self._paid:
            self._paid = paid
            yield Point("accuracy/by_client_mmacs", view.ladder[-1].accuracy, paid, time)


def _of_all(whole: _Round) -> Iterator[Point]:
    """Over all candidates of a round; nothing where the cloud alone has worked."""
    step, time, scores, closed = whole.step, whole.time, whole.scores, whole.closed
    if not scores or (step and not closed):
        return
    yield Point("round/accuracy_best", max(scores), step, time)
    yield Point("round/accuracy_mean", sum(scores) / len(scores), step, time)
    yield Point("round/candidates", len(scores), step, time)
    yield Point("round/clients", sum(one.totals.clients for one in closed), step, time)
    yield Point("round/clients_missing", sum(len(one.missing) for one in closed), step, time)
    sums: dict[str, float] = defaultdict(float)
    samples: dict[str, int] = defaultdict(int)
    for one in closed:
        for name, mean in one.metrics.items():
            sums[name] += mean * one.totals.trained
            samples[name] += one.totals.trained
    for name in sorted(sums):
        yield Point(f"round/{name}", sums[name] / samples[name], step, time)


def _of_rung(time: float, view: View) -> Iterator[Point]:
    """Of the last rung, and of what it took to get there."""
    assert view.start is not None, "a rung follows a start"
    rung, ledger = view.ladder[-1], view.ledger
    values = {
        "accuracy": rung.accuracy,
        "rung/validation_accuracy": rung.validation_accuracy,
        "rung/validation_loss": rung.validation_loss,
        **{f"rung/{name}": cost for name, cost in rung.costs.items()},
        "rung/share": rung.share,
        "cost/client_gmacs": ledger.search.macs / 1e9,
        "cost/client_mb": (ledger.search.bytes_down + ledger.search.bytes_up) / 1e6,
        "cost/client_rounds": ledger.search.client_rounds,
        "cost/initial_gmacs": ledger.initial.macs / 1e9,
    }
    yield Point("accuracy/by_macs", rung.accuracy, rung.macs, time)
    if rung.baseline_accuracy is not None:
        values["accuracy_thinned_alike"] = rung.baseline_accuracy
        macs = [added.baseline.costs["macs"] for added in view.added[-2:] if added.baseline]
        if macs[1:] != macs[:1]:  # two rungs close to each other may have one network beside them
            name = "accuracy/by_macs_thinned_alike"
            yield Point(name, rung.baseline_accuracy, macs[-1], time)
    if ledger.factors:
        values["cost/times_cheaper"] = ledger.factors["total"]
    for key, value in values.items():
        yield Point(key, value, rung.rung, time)
