"""A strategy as a generator: it is told each step's outcomes from a table made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from fednas.federation import Failure
from fednas.models import Architecture, Model
from fednas.search import (
    Candidate,
    Cut,
    Decide,
    Ending,
    Outcome,
    Problem,
    Steps,
    Strategy,
    Train,
    strategy_of,
)
from fednas.search._begin import Start
from fednas.search._order import Ranking
from fednas.search._tuning import Tuning
from fednas.space import RESOURCES, Resource, costs
from fednas.spec import Distillation, FinalTraining, Order
from fednas.work import Params
from tests.unit.search.toy import network, search, space

FULL = space().macs((16, 16, 16, 16))  # 3 * 256 + 160 = 928

Row = int | None
"""Right answers of 100; None: the round failed. The loss is their complement."""
Table = Callable[[int, str, str, int], Row]
"""Iteration, phase, candidate, round -> what the validation rows say."""


def play(
    table: Table,
    *,
    budget: float = 0.5,
    groups: int = 4,
    start: int = 80,
    own: Strategy | None = None,
    **settings: Any,
) -> tuple[list[Any], Ending]:
    """All steps that the toy search's strategy yields, some settings changed, and its ending."""
    going = (own or strategy_of(search(**settings))).search(
        problem(budget, groups), scored(network(), "w0", start)
    )
    steps: list[Any] = []
    answer: Any = None
    try:
        while True:
            step = going.send(answer)
            steps.append(step)
            answer = dict(_told(table, step)) if isinstance(step, Cut | Train) else None
    except StopIteration as end:
        return steps, end.value


def _told(table: Table, step: Cut | Train) -> Iterator[tuple[str, Outcome]]:
    if isinstance(step, Cut):
        at: tuple[int, str, int] = (step.iteration, "cut", 0)
        networks = {candidate.name: candidate.architecture for candidate in step.candidates}
    else:
        at = (step.id.iteration, step.id.phase, step.id.number)
        networks = {name: one.model.architecture for name, one in step.entrants.items()}
    iteration, phase, number = at
    for name, architecture in networks.items():
        weights = f"{iteration} {phase} {name} {number}"
        yield name, scored(architecture, weights, table(iteration, phase, name, number))


def problem(budget: float = 0.5, groups: int = 4) -> Problem:
    names = tuple((f"client-{group}",) for group in range(groups))
    return Problem(space(), RESOURCES["macs"], budget, names, 11, lambda network: Params())


def scored(architecture: Architecture, weights: str, correct: Row) -> Outcome:
    model = Model(architecture, {"weights": weights})
    if correct is None:
        return Outcome(model, {}, 0.0, float("inf"), Failure("QuorumMissed", "nobody came"))
    sums = {"correct": correct, "total": 100, "loss": 100 - correct, "divergence": 100 - correct}
    return Outcome(model, sums, correct / 100, 1 - correct / 100)


def told(rows: Mapping[tuple[int, str, str, int], Row] | None = None, default: int = 50) -> Table:
    rows = rows or {}
    return lambda *key: rows.get(key, default)


def of(steps: list[Any], kind: type) -> list[Any]:
    return [step for step in steps if isinstance(step, kind)]


def decided(steps: list[Any], kind: type) -> list[Any]:
    """Entries of a kind that the strategy had written."""
    return [step.entry for step in of(steps, Decide) if isinstance(step.entry, kind)]


def after(candidate: Candidate) -> int:
    """Filters that are left of the one group that it changes."""
    (width,) = candidate.changes.values()
    return width


# --- candidates made by hand, for orders and drops -----------------------------------------------

PARENT = network()


def made(
    rows: Mapping[str, tuple[int, float, int, bool]], *, full: int = 200
) -> tuple[Callable[[Order], Ranking], list[Candidate], dict[str, Outcome]]:
    """Candidates of (right of 100, loss, cost, reached); the parent 70, .5, 100; whole 200.

    Failed, where the loss is negative.
    """
    start, known, candidates, outcomes = network(), {}, [], {}
    known[start.widths] = full
    parent = start.with_widths((15, 15, 15, 15))
    known[parent.widths] = 100
    for index, (name, (correct, loss, cost, reached)) in enumerate(rows.items()):
        one = start.with_widths((index + 1, 1, 1, 1))
        known[one.widths] = cost
        candidates.append(
            Candidate(name, index, {name: 1}, one, costs(space(), one.widths), reached)
        )
        failed = Failure("QuorumMissed", "nobody came") if loss < 0 else None
        sums = {"correct": correct, "total": 100, "loss": 100 * loss, "divergence": 100 * loss}
        sums = {} if failed else sums
        outcomes[name] = Outcome(Model(one, {"weights": name}), sums, correct / 100, loss, failed)
    resource = Resource("macs", lambda _, widths: known[tuple(widths)], "MACs")
    whole = Problem(space(), resource, 0.5, ((),), 0, lambda network: Params())
    before = Outcome(Model(parent, {"weights": "parent"}), {}, 0.70, 0.5)
    return lambda order: Ranking(order, whole, before), candidates, outcomes


def tuning(
    rungs: Mapping[int, Outcome],
    users: Mapping[int, Sequence[str]],
    *,
    iteration: int,
    **settings: FinalTraining | Distillation,
) -> Steps[None]:
    """What becomes of the rungs that a search has left; ``settings`` are fields of the spec."""
    asked = search()
    asked = asked.model_copy(update={"spec": asked.spec.model_copy(update={"seed": 5} | settings)})
    start = cast(
        Start,
        SimpleNamespace(
            space_digest="space",
            shards=SimpleNamespace(
                clients=sorted(name for some in users.values() for name in some)
            ),
        ),
    )
    first = scored(network(), "start", 95)
    return Tuning(sorted(rungs), users, iteration).steps(asked, start, {0: first, **rungs})
