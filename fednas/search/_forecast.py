"""What a search will cost, told before it starts: its schedule, priced as the ledger would.

Nothing is trained: targets, rounds and drops follow from the spec, the networks are taken to be
thinned alike, and who has how many samples is known from the data. Rounds that may end early make
it a range; clients that fail, and a winner smaller than its target asked for, are not foreseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from fednas.data import Shards
from fednas.errors import BadInput
from fednas.models import Architecture
from fednas.search._begin import check_batches, check_target, make_groups
from fednas.search._ledger import Cost
from fednas.search._spending import Spending, spending
from fednas.search._strategies import strategy_of
from fednas.search._strategy import Planned, Problem
from fednas.search._tables import keep_tables, read_tables
from fednas.space import Space, resource
from fednas.spec import (
    Bound,
    DeviceClass,
    FederatedSearch,
    FinalTraining,
    InitialTraining,
    Training,
)
from fednas.store import Blobs
from fednas.work import TRAIN, Train

__all__ = ["Expense", "Forecast", "Lesson", "forecast"]

_FLOAT = 4
"""Bytes of a value on the way to a client and back."""


@dataclass(frozen=True)
class Expense:
    """What one course of events costs.

    Parameters
    ----------
    search : Cost
        All clients together, in the search alone.
    evaluated : int
        Forward multiply-accumulates of the cloud's evaluations, start and final training included.
    """

    search: Cost
    evaluated: int


@dataclass(frozen=True)
class Lesson:
    """One network's distillation, in the cloud.

    Parameters
    ----------
    pupil, teacher : Architecture
    macs : int
        Multiply-accumulates, of all steps.
    """

    pupil: Architecture
    teacher: Architecture
    macs: int


@dataclass(frozen=True)
class Forecast:
    """What a search is expected to cost.

    Parameters
    ----------
    iterations : tuple of Planned
    resource : str
        What the target counts.
    shares : tuple of float
        What each iteration is expected to come to, of the start's cost in it.
    clients, groups : int
    least, most : Expense
        If the leader of each iteration stays the same, and if no phase ends early.
    initial, final : Cost
        Of the training of the start and of the networks in use, all clients together.
    lessons : tuple of tuple of Lesson
        Of the cloud's distillation, by stages.
    tuned : int
        Rungs that the final training trains.
    naive_macs : int
        The search's, if every client trained every candidate for all rounds.
    cut : int
        Multiply-accumulates of all networks that are cut, each counted for one sample.
    privacy : Spending or None
        Of the promise to the clients, where there is one.
    """

    iterations: tuple[Planned, ...]
    resource: str
    shares: tuple[float, ...]
    clients: int
    groups: int
    least: Expense
    most: Expense
    initial: Cost
    final: Cost
    lessons: tuple[tuple[Lesson, ...], ...]
    tuned: int
    naive_macs: int
    cut: int
    privacy: Spending | None = None

    @property
    def taught(self) -> int:
        """Multiply-accumulates of the cloud's distillation."""
        return sum(lesson.macs for stage in self.lessons for lesson in stage)

    @property
    def candidate_rounds(self) -> tuple[int, int]:
        """Rounds of one candidate by one group, at least and at most."""
        return _candidate_rounds(self.iterations)

    @property
    def factors(self) -> tuple[float, float] | None:
        """How much less than naive the search is, at least and at most; None: clients do nothing.

        As the ledger does, what is saved by ending a phase early counts.
        """
        if not self.least.search.macs:
            return None
        return (
            self.naive_macs / self.most.search.macs,
            self.naive_macs / self.least.search.macs,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase."""
        factors = self.factors
        return {
            "clients": self.clients,
            "groups": self.groups,
            "iterations": [
                {
                    "candidates": len(one.candidates),
                    "rounds": dict(one.planned),
                    "candidateRounds": {"least": dict(one.least), "most": dict(one.most)},
                    "share": share,
                }
                for one, share in zip(self.iterations, self.shares, strict=True)
            ],
            "search": {
                "least": self.least.search.to_dict(),
                "most": self.most.search.to_dict(),
            },
            "initial": self.initial.to_dict(),
            "final": self.final.to_dict(),
            "distillationMacs": self.taught,
            "finalRungs": self.tuned,
            "naiveMacs": self.naive_macs,
            "timesCheaperThanNaive": (
                None if factors is None else {"least": factors[0], "most": factors[1]}
            ),
            "privacy": None if self.privacy is None else self.privacy.to_dict(),
        }


def forecast(
    search: FederatedSearch,
    space: Space,
    shards: Shards,
    *,
    tables: Blobs,
    read: Callable[[str, str], bytes],
) -> Forecast:
    """What a search would cost.

    Parameters
    ----------
    search : FederatedSearch
    space : Space
        Traced from its starting network.
    shards : Shards
        Its data, for who has how many samples.
    tables : Blobs
        Where latency tables are kept.
    read : callable
        The field that names a latency table, and what it says -> the bytes that lie there.

    Raises
    ------
    BadInput
        The search would not start, or its strategy declares no schedule.
    """
    spec = search.spec
    kept = keep_tables(search, None, tables, read)
    space = space.priced(
        spec.training.batch_size, read_tables(search, kept, tables, space.operations)
    )
    check_batches(search, space)
    check_target(search, space, space.start)
    strategy = strategy_of(search)
    if not hasattr(strategy, "schedule"):
        raise BadInput(
            f"spec.strategy: got {spec.strategy.chosen[0]}, which declares no schedule; must have "
            "the method schedule(problem) to be planned"
        )
    target = spec.target.bound
    counted = resource(target.resource)
    problem = Problem(
        space=space,
        resource=counted,
        budget=target.share_of(counted.cost(space, space.start.widths)),
        groups=make_groups(search, strategy, space, shards),
        seed=spec.seed,
        training=lambda network: Train.by(spec.training, spec.data, network),
    )
    iterations = tuple(strategy.schedule(problem))
    return _Prices(search, problem, shards).of(iterations)


class _Prices:
    """What rounds and evaluations of networks cost."""

    def __init__(self, search: FederatedSearch, problem: Problem, shards: Shards) -> None:
        self.spec, self.problem, self.shards = search.spec, problem, shards
        self.clients = len(shards.clients)
        self.start = problem.space.start

    def of(self, iterations: tuple[Planned, ...]) -> Forecast:
        """Everything."""
        spec, problem = self.spec, self.problem
        rungs = [self.start, *(one.network for one in iterations)]
        first, last = spec.model.initial.training, spec.final_training
        used, initial, final = self._used(rungs), Cost(), Cost()
        trained = [] if last is None else used[:1] if last.rungs == "largest" else used
        # What is evaluated however the search goes; a start that is given, once.
        rows = self._evaluated([self.start] * (1 if first is None else first.rounds))
        rows += self._cut(one for it in iterations for one in _networks(it))
        rows += self._tested(rungs)
        rows += sum(self._weighed(one) for one in iterations)
        compared = [] if spec.baseline == "none" else rungs[1:]
        rows += self._cut(compared) + self._tested(compared)
        if first is not None:
            initial = self._rounds(first, first.clients_per_round, [(self.start, first.rounds)])
        lessons = self._lessons(used)
        tuned = trained if spec.distillation is None else used
        rows += self._evaluated([one.pupil for stage in lessons for one in stage]) + self._tested(
            tuned
        )
        if last is not None:
            final = self._final(last, trained)
            rows += last.rounds * self._evaluated(trained)
        return Forecast(
            iterations=iterations,
            resource=problem.resource.name,
            shares=tuple(one.cost / problem.full for one in iterations),
            clients=self.clients,
            groups=len(problem.groups),
            least=self._expense(iterations, rows, lambda one: one.least),
            most=self._expense(iterations, rows, lambda one: one.most),
            initial=initial,
            final=final,
            lessons=lessons,
            tuned=len(trained),
            naive_macs=sum(
                TRAIN.passes
                * self._macs(network)
                * self._samples(spec.training, network)
                * sum(one.planned.values())
                for one in iterations
                for network in _networks(one)
            ),
            cut=sum(self._macs(one) for it in iterations for one in _networks(it))
            + sum(self._macs(one) for one in compared),
            privacy=spending(
                spec,
                sorted(self.shards.clients),
                groups=len(problem.groups),
                tuned=len(trained),
                rounds=_candidate_rounds(iterations),
            ),
        )

    def _expense(
        self,
        iterations: Iterable[Planned],
        rows: int,
        rounds: Callable[[Planned], Mapping[str, int]],
    ) -> Expense:
        """A round costs what a candidate of the mean costs a group of the mean."""
        search, group = Cost(), self.clients / len(self.problem.groups)
        for iteration in iterations:
            networks = _networks(iteration)
            each = sum(rounds(iteration).values()) / len(networks)
            paid = self._rounds(self.spec.training, group, [(one, each) for one in networks])
            _add(search, paid)
            rows += round(each * self._evaluated(networks))
        return Expense(search, rows)

    def _rounds(
        self,
        training: Training | InitialTraining,
        cohort: float,
        rounds: Iterable[tuple[Architecture, float]],
    ) -> Cost:
        """Of so many rounds of each network by so many clients of the mean size."""
        cohort, cost = min(cohort, self.clients), Cost()
        for network, number in rounds:
            taken = number * cohort
            samples = taken * self._samples(training, network) / self.clients
            moved = round(taken * _FLOAT * self._values(network))
            _add(
                cost,
                Cost(
                    macs=round(TRAIN.passes * self._macs(network) * samples),
                    bytes_down=moved,
                    bytes_up=moved,
                    samples=round(samples),
                    client_rounds=round(taken),
                ),
            )
        return cost

    def _final(self, training: FinalTraining, tuned: list[Architecture]) -> Cost:
        """Of all rounds of the training after the search."""
        rounds, count = training.rounds, min(training.clients_per_round, self.clients)
        if not training.nested:
            return self._rounds(training, count, [(one, rounds) for one in tuned])
        cost = Cost()
        for index, network in enumerate(tuned):
            users = sum(device.clients for device, one in self._chosen(tuned) if one == network)
            paid = self._rounds(training, count * users / self.clients, [(network, rounds)])
            within = [self._macs(one) for one in tuned[index + 1 :]]
            more = sum(within) // max(1, len(within))
            paid.macs += TRAIN.passes * more * paid.samples
            _add(cost, paid)
        return cost

    def _lessons(self, used: list[Architecture]) -> tuple[tuple[Lesson, ...], ...]:
        """Before the final training from the start, afterwards from the largest."""
        how, last = self.spec.distillation, self.spec.final_training
        if how is None:
            return ()
        images = how.steps * min(how.batch_size, self.shards.validation.samples)

        def taught(pupils: Iterable[Architecture], teacher: Architecture) -> tuple[Lesson, ...]:
            macs = self._macs(teacher)
            return tuple(
                Lesson(one, teacher, images * (TRAIN.passes * self._macs(one) + macs))
                for one in pupils
            )

        first = used[:1] if last is not None and last.as_one else used
        before = taught((one for one in first if one != self.start), self.start)
        return (before,) if last is None else (before, taught(used[1:], used[0]))

    def _samples(self, training: Training | InitialTraining, network: Architecture) -> int:
        """That all clients process in a round."""
        params = Train.by(training, self.spec.data, network)
        return sum(TRAIN.samples(params, one.samples) for one in self.shards.clients.values())

    def _used(self, rungs: list[Architecture]) -> list[Architecture]:
        """The largest rung within each class's budget, or all, from the largest."""
        last = self.spec.final_training
        if not self.spec.goes_on:
            return []
        if last is not None and last.rungs == "all":
            return rungs
        chosen = (one for _, one in self._chosen(rungs))
        found = {one.widths: one for one in chosen if one is not None}
        return sorted(found.values(), key=self._macs, reverse=True)

    def _chosen(self, rungs: list[Architecture]) -> list[tuple[DeviceClass, Architecture | None]]:
        """The largest network within the budget of each device class."""
        return [
            (device, self._largest(rungs, device.bound or self.spec.target.bound))
            for device in self.spec.device_classes
        ]

    def _largest(self, rungs: list[Architecture], bound: Bound) -> Architecture | None:
        counted, space = resource(bound.resource), self.problem.space
        full = counted.cost(space, self.start.widths)
        most = bound.share_of(full) * full
        return next((one for one in rungs if counted.cost(space, one.widths) <= most), None)

    def _cut(self, networks: Iterable[Architecture]) -> int:
        """On the validation rows; what was refitted has its statistics already."""
        if not self.spec.refit:
            return self._evaluated(networks)
        return self.shards.validation.samples * sum(self._macs(one) for one in networks)

    def _evaluated(self, networks: Iterable[Architecture]) -> int:
        """On the validation rows, after the statistics were recomputed."""
        rows = self.shards.validation.samples + self.shards.calibration.samples
        return rows * sum(self._macs(one) for one in networks)

    def _weighed(self, iteration: Planned) -> int:
        """Winner and runner-up image by image, each taken for a candidate of the mean."""
        networks = _networks(iteration)
        if len(networks) < 2:
            return 0
        macs = sum(self._macs(one) for one in networks)
        return round(2 * self.shards.validation.samples * macs / len(networks))

    def _tested(self, networks: Iterable[Architecture]) -> int:
        rows = 0 if self.shards.test is None else self.shards.test.samples
        return rows * sum(self._macs(one) for one in networks)

    def _macs(self, network: Architecture) -> int:
        return self.problem.space.macs(network.widths)

    def _values(self, network: Architecture) -> int:
        return sum(prod(shape) for shape in self.problem.space.shapes(network.widths).values())


def _networks(iteration: Planned) -> list[Architecture]:
    return [one.architecture for one in iteration.candidates]


def _candidate_rounds(iterations: Iterable[Planned]) -> tuple[int, int]:
    """At least and at most."""
    counted = [(sum(one.least.values()), sum(one.most.values())) for one in iterations]
    return sum(least for least, _ in counted), sum(most for _, most in counted)


def _add(cost: Cost, more: Cost) -> None:
    cost.macs += more.macs
    cost.bytes_down += more.bytes_down
    cost.bytes_up += more.bytes_up
    cost.samples += more.samples
    cost.client_rounds += more.client_rounds
