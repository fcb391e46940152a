"""What a strategy is: a generator that yields what is to be done and receives how it went.

A strategy sees neither fleet nor store: it is handed a `Problem`, and each step gives back its
answer once all of it is done. So it decides at barriers alone, from values that are in the journal,
and a search that is replayed takes every decision again, from the same values.

    outcomes = yield from ask(Cut(...))         # cut candidates from a network, evaluate them
    outcomes = yield from ask(Train(...))       # one round for each of some networks, in parallel
    result = yield from ask(Compute(...))       # work of the cloud, no client
    yield from ask(Compare(...))                # how far the winner is ahead, for the journal
    yield from ask(Decide(...))                 # into the journal: dropped, winner
    yield from ask(AddRung(...))                # a network for the ladder
    return Ending(...)

A strategy also says what the rest of the system shows of it - its phases, how many iterations it
may take, how far it is - so that nothing outside knows one by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fednas.federation import Cohort, Failure, RoundId
from fednas.models import Architecture, Model
from fednas.objective import DIVERGENCE
from fednas.search._entries import Dropped, Won
from fednas.search._parts import Quantity
from fednas.space import Resource, Space
from fednas.spec import Distillation
from fednas.work import Kind, Params, TaskResult

__all__ = [
    "AddRung",
    "Candidate",
    "Compare",
    "Compute",
    "Cut",
    "Decide",
    "Ending",
    "Entrant",
    "Evaluate",
    "Outcome",
    "Outcomes",
    "Planned",
    "Problem",
    "Step",
    "Steps",
    "Strategy",
    "Train",
    "Tune",
    "ask",
]

A = TypeVar("A")


@dataclass(frozen=True)
class Outcome:
    """An evaluated network.

    Parameters
    ----------
    model : Model
        With the batch-norm statistics that it was evaluated with.
    sums : mapping
        What was counted on the validation rows.
    score, loss : float
        What the objective says of them.
    failed : Failure or None
        Why there is no evaluation: no quorum could be had.
    trained : int
        Samples that clients have just trained it on.
    """

    model: Model
    sums: Mapping[str, float]
    score: float
    loss: float
    failed: Failure | None = None
    trained: int = 0

    @property
    def divergence(self) -> float:
        """From the answers of the network that it was cut from, in nats a row; where counted."""
        return self.sums[DIVERGENCE] / self.sums["total"] if self.sums else math.inf


Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Candidate:
    """A network that may become the next one.

    Parameters
    ----------
    name : str
        Unique in its iteration; of ``[A-Za-z0-9._-]``.
    index : int
        Decides between equals: the lower is the earlier layer.
    changes : mapping of str to int
        Group of layers -> filters that are left; one group or several.
    architecture : Architecture
    costs : mapping of str to int
        By resource, of the whole network.
    reached_target : bool
        Whether it costs no more than the iteration's target.
    """

    name: str
    index: int
    changes: Mapping[str, int]
    architecture: Architecture
    costs: Mapping[str, int]
    reached_target: bool


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Parameters
    ----------
    space : Space
        What may be changed.
    resource : Resource
        What the budget counts.
    budget : float
        Share of the starting network's resource to get down to.
    groups : tuple of tuple of str
        The clients of each group.
    seed : int
    training : callable
        Network -> the parameters of a client's training, by ``spec.training``.
    """

    space: Space
    resource: Resource
    budget: float
    groups: tuple[tuple[str, ...], ...]
    seed: int
    training: Callable[[Architecture], Params]

    @property
    def full(self) -> int:
        """Cost of the starting network, in the budget's resource."""
        return self.cost(self.space.start)

    def cost(self, architecture: Architecture) -> int:
        """Of a network, in the budget's resource."""
        return self.resource.cost(self.space, architecture.widths)

    def cohort(self, group: int, attempt: int) -> Cohort:
        """A group of clients; the next one where the one before found no quorum."""
        index = (group + attempt) % len(self.groups)
        return Cohort(self.groups[index], index)


# --- steps ---------------------------------------------------------------------------------------


class Step(Generic[A]):
    """Something to be done; ``A`` is what it answers."""


@dataclass(frozen=True)
class Cut(Step[Outcomes]):
    """Journal the candidates of an iteration; cut each and evaluate it untrained.

    ``parent`` is the network that they are smaller than, ``source`` that whose weights are cut: the
    parent, or the start, of which nothing has been lost yet; with ``divergence`` each candidate's
    answers are compared with those of ``source``. ``planned`` says how many rounds of
    each phase a candidate trains that is never dropped nor stopped early: the naive design, against
    which costs are compared, gives them to all.
    """

    iteration: int
    phase: str
    parent: Model
    source: Model
    target: int
    planned: Mapping[str, int]
    candidates: Sequence[Candidate]
    divergence: bool = False


@dataclass(frozen=True)
class Entrant:
    """A network in a round, and who trains it: attempt -> cohort."""

    model: Model
    cohort: Callable[[int], Cohort]


@dataclass(frozen=True)
class Train(Step[Outcomes]):
    """One federated round for each entrant, in parallel; each aggregate is evaluated.

    ``id`` has no subject: each entrant's is its name. ``params`` gives those of the kind for a
    network.
    """

    id: RoundId
    entrants: Mapping[str, Entrant]
    kind: Kind[Any]
    params: Callable[[Architecture], Params]


@dataclass(frozen=True)
class Compute(Step[TaskResult]):
    """Work of the cloud, with its result in the journal."""

    id: RoundId
    kind: Kind[Any]
    params: Params
    inputs: Mapping[str, str]
    seed: int = 0


@dataclass(frozen=True)
class Evaluate(Step[Outcome]):
    """Recompute a network's batch-norm statistics and count on the validation rows."""

    id: RoundId
    model: Model


@dataclass(frozen=True)
class Distil(Step[Outcomes]):
    """Teach networks another's answers to the validation rows, in the cloud; evaluate each.

    ``id`` has no subject: each network's is its name.
    """

    id: RoundId
    models: Mapping[str, Model]
    teacher: Model
    how: Distillation


@dataclass(frozen=True)
class Compare(Step[None]):
    """Journal how far the winner is ahead of the runner-up, just before it has won.

    Both are evaluated image by image, by the cloud. There is no answer: nothing is decided by it.
    ``by`` is what they were ranked by, ``outcomes`` has both by their names, ``source`` is the
    network that they were cut from.
    """

    iteration: int
    winner: str
    runner_up: str
    by: Quantity
    outcomes: Mapping[str, Outcome]
    source: Model


@dataclass(frozen=True)
class Decide(Step[None]):
    """A decision with its evidence, for the journal."""

    entry: Dropped | Won


@dataclass(frozen=True)
class AddRung(Step[None]):
    """A network, with its outcome on the validation rows, goes on the ladder.

    Of all other networks but the start the blobs are then removed: the next iteration goes on from
    this one.
    """

    iteration: int
    candidate: str
    outcome: Outcome


@dataclass(frozen=True)
class Tune(Step[None]):
    """A rung's training after the search is over: ``outcome`` is that of its round ``best``."""

    id: RoundId
    rung: int
    best: int
    outcome: Outcome


@dataclass(frozen=True)
class Ending:
    """Why the search stopped."""

    reason: str
    message: str
    failed: bool = False


T = TypeVar("T")
Steps = Generator[Step[Any], Any, T]


def ask(step: Step[A]) -> Steps[A]:
    """Have a step done: ``answer = yield from ask(step)``."""
    answer: A = yield step
    return answer


@dataclass(frozen=True)
class Planned:
    """What an iteration is expected to be, before anybody has trained anything.

    Parameters
    ----------
    network : Architecture
        What it is expected to come to, more or less.
    cost : float
        That of its winner, as expected, in the budget's resource.
    candidates : tuple of Candidate
    planned : mapping of str to int
        As in `Cut`: phase -> rounds of a candidate that is never dropped nor stopped early.
    least, most : mapping of str to int
        Phase -> candidate-rounds, a round of one candidate by one group each: if the leader stays
        the same from the first round on, and if no phase ends early.
    """

    network: Architecture
    cost: float
    candidates: tuple[Candidate, ...]
    planned: Mapping[str, int]
    least: Mapping[str, int]
    most: Mapping[str, int]


class Strategy(Protocol):
    """How a search goes; one file each, named in the table of `STRATEGIES`.

    Attributes
    ----------
    phases : tuple of str
        Of an iteration, in order.
    iterations : int
        At most.
    """

    phases: tuple[str, ...]
    iterations: int

    def num_groups(self, space: Space, clients: int) -> int:
        """How many groups the clients are split into."""

    def progress(self, share: float, budget: float) -> float:
        """How far a search is (0 to 1) whose last rung costs this share of the start."""

    def schedule(self, problem: Problem) -> Sequence[Planned]:
        """The iterations that are to be expected, without data, weights or training."""

    def search(self, problem: Problem, start: Outcome) -> Steps[Ending]:
        """From the trained starting network to an ending."""
