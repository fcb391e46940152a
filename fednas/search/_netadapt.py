"""NetAdapt over federated data: the search of FedNAS (Yuan et al., arXiv 2002.06352).

The loop is that of NetAdapt (Yang et al., arXiv 1804.03230), each candidate trained for a few
rounds by one group of clients (parallel candidates on partial clients), the worst dropped after the
first phase (early dropping). Sources in the authors' words: ``Res``, ``Con``, ``Bud``, ``dR0``,
``gamma`` are `cost`, `target`, `budget`, `first_step` and `step_decay` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from fednas.errors import TrainingDiverged
from fednas.federation import RoundId, default_group_count
from fednas.models import Architecture
from fednas.search._drop import top_k
from fednas.search._entries import Dropped, Won
from fednas.search._strategy import (
    AddRung,
    Candidate,
    Cut,
    Decide,
    Ending,
    Entrant,
    Outcome,
    Outcomes,
    Problem,
    Steps,
    Train,
    ask,
)
from fednas.search._winner import rank_by_accuracy_per_resource
from fednas.seeds import derive_seed
from fednas.space import Space, costs
from fednas.spec import NetAdapt
from fednas.work import TRAIN

__all__ = ["NetAdaptSearch"]

CUT, PRE, POST = "cut", "pre", "post"


class NetAdaptSearch:
    """Shrink the network, one group of layers an iteration, until it is within the budget.

    Parameters
    ----------
    settings : NetAdapt
        ``strategy.netAdapt`` of the spec.
    """

    phases: tuple[str, ...] = (CUT, PRE, POST)

    def __init__(self, settings: NetAdapt) -> None:
        self.settings = settings
        self.iterations = settings.max_iterations

    def num_groups(self, space: Space, clients: int) -> int:
        """As many as candidates, each of at least five clients, unless the spec says."""
        return self.settings.client_groups or default_group_count(len(space.groups), clients)

    def progress(self, share: float, budget: float) -> float:
        """The way from the whole network's cost down to the budget."""
        return min(1.0, (1 - share) / (1 - budget))

    def search(self, problem: Problem, start: Outcome) -> Steps[Ending]:
        """The paper's algorithm 1, with the drop between two phases of rounds."""
        settings = self.settings
        rounds, top = settings.rounds.constant, settings.early_drop.top_k
        assert rounds is not None, "the only member of this union"
        assert top is not None, "the only member of this union"
        width_step = settings.filter_step or default_filter_step(start.model.architecture.widths)
        full = cost = problem.cost(start.model.architecture)
        current = start

        for iteration in range(1, settings.max_iterations + 1):
            if cost <= problem.budget * full:
                break
            target = cost - settings.first_step * settings.step_decay ** (iteration - 1) * full
            candidates = generate(problem, current.model.architecture, target, width_step)
            if not candidates:
                return Ending("BudgetNotReachable", "no layer can be cut any further")

            planned = {PRE: rounds.pre, POST: rounds.post}
            best = yield from ask(
                Cut(iteration, CUT, current.model, int(target), planned, candidates)
            )
            best = yield from _train(problem, iteration, PRE, rounds.pre, candidates, best)

            ranking, kept = top_k(candidates, best, top.keep)
            after = RoundId(iteration, PRE, "", rounds.pre)
            yield from ask(Decide(Dropped(id=after, ranking=ranking)))
            best = yield from _train(problem, iteration, POST, rounds.post, kept, best)

            alive = [candidate for candidate in kept if not best[candidate.name].failed]
            if not alive:
                return _nobody(best)
            ranking, winner = rank_by_accuracy_per_resource(
                alive, best, problem=problem, parent=current, full=full
            )
            yield from ask(Decide(Won(iteration=iteration, winner=winner.name, ranking=ranking)))
            current, cost = best[winner.name], problem.cost(winner.architecture)
            yield from ask(AddRung(iteration, winner.name, current))

        counted = problem.resource.label
        if cost <= problem.budget * full:
            return Ending("Completed", f"{cost / full:.3f} of the {counted}, within the target")
        return Ending(
            "BudgetNotReachable",
            f"{cost / full:.3f} of the {counted} after {settings.max_iterations} iterations; raise "
            "strategy.netAdapt.maxIterations or firstStep",
        )


def default_filter_step(widths: Sequence[int]) -> int:
    """8 filters where the narrowest layer has at least 64, else 4."""
    return 8 if min(widths) >= 64 else 4


def generate(
    problem: Problem, network: Architecture, target: float, step: int
) -> tuple[Candidate, ...]:
    """One candidate a group of layers: the widest cut that brings the network below ``target``.

    Widths are multiples of ``step``. Where none is small enough the smallest is taken; a group that
    cannot shrink gives no candidate.
    """
    space, widths = problem.space, network.widths
    found = []
    for group in space.groups:
        index = group.choice
        choices = range((widths[index] - 1) // step * step, 0, -step)
        if not choices:
            continue
        for width in choices:
            cut = (*widths[:index], width, *widths[index + 1 :])
            cost = problem.resource.cost(space, cut)
            if cost < target:
                break
        found.append(
            Candidate(
                name=group.name,
                index=index,
                changes={group.name: width},
                architecture=network.with_widths(cut),
                costs=costs(space, cut),
                reached_target=cost < target,
            )
        )
    return tuple(found)


def _train(
    problem: Problem,
    iteration: int,
    phase: str,
    rounds: int,
    candidates: Sequence[Candidate],
    best: Outcomes,
) -> Steps[Outcomes]:
    """A phase: each candidate's best round counts, and goes on from its last."""
    best, last = dict(best), dict(best)
    for number in range(1, rounds + 1):
        entrants = {
            candidate.name: Entrant(
                last[candidate.name].model,
                partial(problem.cohort, _group(problem, iteration, phase, number, candidate)),
            )
            for candidate in candidates
            if not last[candidate.name].failed
        }
        at = RoundId(iteration, phase, "", number)
        last |= yield from ask(Train(at, entrants, TRAIN, problem.training))
        best = _best(best, last)
    return best


def _group(problem: Problem, iteration: int, phase: str, number: int, candidate: Candidate) -> int:
    """Candidate b starts a phase on group (b + t) mod G; later groups are drawn."""
    group = candidate.index + iteration
    if number > 1:
        group = derive_seed(problem.seed, "group", iteration, phase, candidate.name, number)
    return group % len(problem.groups)


def _best(before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> Outcomes:
    """Each candidate's best round so far; the earlier of equals. A failure is for good."""
    return dict(before) | {
        name: outcome
        for name, outcome in after.items()
        if outcome.failed or outcome.score > before[name].score
    }


def _nobody(outcomes: Mapping[str, Outcome]) -> Ending:
    """Every survivor has failed: say why the last of them did."""
    failure = [outcome.failed for outcome in outcomes.values() if outcome.failed][-1]
    reason = "TooManyFailedCandidates"
    if failure.reason == TrainingDiverged.reason:
        reason = failure.reason
    return Ending(reason, f"no candidate had a quorum; the last: {failure.message}", failed=True)
