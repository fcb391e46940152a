"""What a strategy is: a generator that yields what is to be done and receives how it went.

A strategy sees neither fleet nor store: it is handed a `Problem`, and each `yield` of a step gives
it back the `Outcome` of every candidate in that step, once all of them have it. So it decides at
barriers alone, from values that are in the journal, and a search that is replayed takes every
decision again, from the same values.

    steps = strategy(problem, start)        # a Generator[Step, Outcomes, Ending]
    yield Generate(...)                     # cut the candidates from the current network, evaluate
    yield Rounds(...)                       # one round of FedAvg for each of them, in parallel
    yield Decision(...)                     # into the journal: dropped, winner
    yield NewRung(...)                      # a network for the ladder
    return Ending(...)
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from fednas.federation import Outcome
from fednas.models import Architecture
from fednas.space import Space

__all__ = [
    "Candidate",
    "Decision",
    "Ending",
    "Entrant",
    "Generate",
    "NewRung",
    "Outcomes",
    "Problem",
    "Rounds",
    "Step",
    "Strategy",
]


@dataclass(frozen=True)
class Candidate:
    """A network that may become the next one.

    ``name`` is the group of layers that was cut, ``width_before`` and ``width_after`` its filters;
    ``macs`` and ``params`` belong to the whole network; ``reached_target`` says whether they are
    below the iteration's target.
    """

    name: str
    index: int
    architecture: Architecture
    width_before: int
    width_after: int
    macs: int
    params: int
    reached_target: bool


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Parameters
    ----------
    space : Space
        What may be changed, and what it then costs.
    architecture : Architecture
        The starting network.
    budget : float
        Share of the starting network's MACs to get down to.
    groups : int
        Number of client groups.
    seed : int
    """

    space: Space
    architecture: Architecture
    budget: float
    groups: int
    seed: int


@dataclass(frozen=True)
class Generate:
    """Derive each candidate's weights from ``parent`` and evaluate it untrained (round 0)."""

    iteration: int
    parent: Architecture
    weights: str
    macs: int
    target: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Entrant:
    """A candidate in a round: the weights it starts from and the group that trains it."""

    candidate: Candidate
    weights: str
    group: int


@dataclass(frozen=True)
class Rounds:
    """One round of federated averaging for each entrant, in parallel."""

    iteration: int
    phase: str
    round: int
    entrants: tuple[Entrant, ...]


@dataclass(frozen=True)
class Decision:
    """Evidence for the journal; ``kind`` is ``dropped`` or ``winner``."""

    iteration: int
    kind: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class NewRung:
    """The winner of an iteration, with its validation outcome, goes on the ladder."""

    iteration: int
    candidate: Candidate
    outcome: Outcome


@dataclass(frozen=True)
class Ending:
    """Why the search stopped."""

    reason: str
    message: str
    failed: bool = False


Step = Generate | Rounds | Decision | NewRung
Outcomes = Mapping[str, Outcome]
Strategy = Generator[Step, Outcomes, Ending]
