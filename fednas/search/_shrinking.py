"""The loop of FedNAS (Yuan et al., arXiv 2002.06352): a network made smaller step by step.

It is that of NetAdapt (Yang et al., arXiv 1804.03230), each candidate trained for a few rounds by
one group of clients (parallel candidates on partial clients), the worst dropped after the first
phase (early dropping), for as many rounds as it takes (dynamic round numbers). Two things are ours:
candidates are ranked as they are just cut, which costs no client anything, and only the best of
them are trained, if any; and the last step stops at the budget. What the candidates are is said by
the strategies that are built on it.

Sources in the authors' words: ``Res``, ``Con``, ``Bud``, ``dR0``, ``gamma`` are `cost`, `target`,
`budget`, `first_step` and `step_decay` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from fednas.errors import TrainingDiverged
from fednas.federation import RoundId, default_group_count
from fednas.models import Architecture, Model
from fednas.search._drop import candidate_rounds, kept_after, screened
from fednas.search._entries import Dropped, Won
from fednas.search._order import Ranking, improves, of_trained
from fednas.search._rounds import Plan, plan_of
from fednas.search._strategy import (
    AddRung,
    Candidate,
    Compare,
    Cut,
    Decide,
    Ending,
    Entrant,
    Outcome,
    Outcomes,
    Planned,
    Problem,
    Steps,
    Train,
    ask,
)
from fednas.seeds import derive_seed
from fednas.space import Space, costs, thin
from fednas.spec import Choosing, Screening
from fednas.work import TRAIN

__all__ = ["ShrinkingSearch", "candidate"]

CUT, PRE, POST = "cut", "pre", "post"


class ShrinkingSearch:
    """Shrink the network a step an iteration until it is within the budget.

    Parameters
    ----------
    settings : Choosing
        Of the strategy, in the spec.
    """

    phases: tuple[str, ...] = (CUT, PRE, POST)

    def __init__(self, settings: Choosing) -> None:
        self.settings = settings
        self.iterations = settings.max_iterations

    def num_groups(self, space: Space, clients: int) -> int:
        """As many as candidates, each of at least five clients, unless the spec says."""
        candidates = self.num_candidates(space)
        return self.settings.client_groups or default_group_count(candidates, clients)

    def num_candidates(self, space: Space) -> int:
        """Of an iteration, at most."""
        return len(space.groups)

    def progress(self, share: float, budget: float) -> float:
        """The way from the whole network's cost down to the budget."""
        return min(1.0, (1 - share) / (1 - budget))

    def candidates(
        self, problem: Problem, iteration: int, network: Architecture, target: float
    ) -> tuple[Candidate, ...]:
        """Smaller networks, as few as can win; none where it cannot be made any smaller."""
        raise NotImplementedError

    def schedule(self, problem: Problem) -> tuple[Planned, ...]:
        """The same targets, rounds and drops, on networks that are thinned alike.

        Which layers the winners will have lost nobody knows yet: a winner costs what the candidates
        do in the mean, and the next ones are those of a network that has come to the same cost by
        losing a little of each layer.
        """
        settings, found = self.settings, list[Planned]()
        network, cost = problem.space.start, float(problem.full)
        for iteration in range(1, settings.max_iterations + 1):
            if cost <= problem.budget * problem.full:
                break
            target = self._target(problem, iteration, cost)
            candidates = self.candidates(problem, iteration, network, target)
            if not candidates:
                break
            plan = plan_of(settings.rounds, self.progress(cost / problem.full, problem.budget))
            met = [one for one in candidates if one.reached_target] or candidates
            keep = screened(settings.screening, len(met))
            cost = sum(problem.cost(one.architecture) for one in met) / len(met)
            network = self._thinned(problem, cost)
            if problem.cost(network) <= self._target(problem, iteration + 1, cost):
                # Thinning alike goes in coarse steps where layers are narrow: none would be left.
                largest = max(met, key=lambda one: problem.cost(one.architecture))
                network = largest.architecture
            found.append(
                Planned(
                    network=network,
                    cost=cost,
                    candidates=candidates,
                    planned={PRE: plan.pre, POST: plan.post},
                    least=self._rounds(plan.shortest, keep),
                    most=self._rounds(plan, keep),
                )
            )
        return tuple(found)

    def search(self, problem: Problem, start: Outcome) -> Steps[Ending]:
        """The paper's algorithm 1."""
        settings, full = self.settings, problem.full
        budget = problem.budget * full
        current, cost = start, problem.cost(start.model.architecture)
        for iteration in range(1, settings.max_iterations + 1):
            if cost <= budget:
                break
            target = self._target(problem, iteration, cost)
            candidates = self.candidates(problem, iteration, current.model.architecture, target)
            if not candidates:
                return Ending("BudgetNotReachable", "no layer can be cut any further")
            plan = plan_of(settings.rounds, self.progress(cost / full, problem.budget))
            planned = {PRE: plan.pre, POST: plan.post}
            # What was trained is worth going on from; what was only cut is cut anew from the whole.
            source = current.model if plan.pre + plan.post else start.model
            best = yield from ask(
                Cut(
                    iteration,
                    CUT,
                    current.model,
                    source,
                    int(target),
                    planned,
                    candidates,
                    divergence=settings.order == "divergence",
                )
            )
            ranking = Ranking(settings.order, problem, current)
            standing = ranking.sorted(candidates, best)
            if plan.pre + plan.post:
                standing = yield from _screen(
                    ranking, RoundId(iteration, CUT, "", 0), standing, best, settings.screening
                )
                ranking = Ranking(of_trained(settings.order), problem, current)
                best, standing = yield from self._train(
                    problem, iteration, plan, ranking, standing, best
                )
            winner = standing[0]
            if best[winner.name].failed:
                return _nobody(best)
            yield from _compare(ranking, iteration, standing, best, source)
            shown = ranking.shown(standing, best, keep=len(standing))
            yield from ask(Decide(Won(iteration=iteration, winner=winner.name, ranking=shown)))
            current, cost = best[winner.name], problem.cost(winner.architecture)
            yield from ask(AddRung(iteration, winner.name, current))

        if cost <= budget:
            return Ending(
                "Completed", f"{cost / full:.3f} of the {problem.resource.label}, within the target"
            )
        return Ending(
            "BudgetNotReachable",
            f"{cost / full:.3f} of the {problem.resource.label} after {settings.max_iterations} "
            "iterations; raise the strategy's maxIterations or firstStep",
        )

    def _target(self, problem: Problem, iteration: int, cost: float) -> float:
        """What an iteration is to come down to from ``cost``."""
        settings, full = self.settings, problem.full
        step = settings.first_step * settings.step_decay ** (iteration - 1) * full
        return max(cost - step, problem.budget * full)

    def _thinned(self, problem: Problem, cost: float) -> Architecture:
        """The start, every layer thinned alike to a cost."""
        space, counted = problem.space, problem.resource.cost
        widths = thin(space, space.start.widths, lambda w: counted(space, w), cost)
        return space.start.with_widths(widths)

    def _rounds(self, plan: Plan, candidates: int) -> dict[str, int]:
        """Phase -> rounds of one candidate, where so many are trained."""
        pre, post = candidate_rounds(plan, self.settings.early_drop, candidates)
        return {PRE: pre, POST: post}

    def _train(
        self,
        problem: Problem,
        iteration: int,
        plan: Plan,
        ranking: Ranking,
        candidates: Sequence[Candidate],
        cut: Outcomes,
    ) -> Steps[tuple[Outcomes, list[Candidate]]]:
        """Train and drop: each one's best outcome, and who is left, best first.

        A candidate's best round counts, the untrained one included, and starts the next phase;
        within a phase each round goes on from the last.
        """
        drop = self.settings.early_drop
        best, standing = dict(cut), list(candidates)
        leaders: list[str] = []
        for phase, rounds in ((PRE, plan.pre), (POST, plan.post)):
            last = dict(best)
            for number in range(1, rounds + 1):
                at = RoundId(iteration, phase, "", number)
                entrants = {
                    one.name: Entrant(
                        last[one.name].model,
                        partial(problem.cohort, self._group(problem, at, one)),
                    )
                    for one in standing
                    if not last[one.name].failed
                }
                last |= yield from ask(Train(at, entrants, TRAIN, problem.training))
                best = self._best(best, last)
                standing = ranking.sorted(standing, best)
                over = phase == PRE and number == rounds
                keep = kept_after(drop, len(standing), last_of_phase=over)
                standing = yield from _drop(ranking, at, standing, best, keep)
                leaders.append(standing[0].name)
                if best[leaders[-1]].failed or (phase == POST and plan.enough(leaders)):
                    return best, standing
        return best, standing

    def _group(self, problem: Problem, at: RoundId, one: Candidate) -> int:
        """Candidate b starts a phase on group (b + t) mod G; later groups are drawn."""
        apart = self.settings.pairing == "apart"
        group = at.iteration + (one.index if apart else 0)
        if at.number > 1:
            name = one.name if apart else ""
            group = derive_seed(problem.seed, "group", at.iteration, at.phase, name, at.number)
        return group % len(problem.groups)

    def _best(self, before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> Outcomes:
        """Each candidate's best round so far; the earlier of equals. A failure is for good."""
        return dict(before) | {
            name: outcome
            for name, outcome in after.items()
            if outcome.failed or improves(of_trained(self.settings.order), outcome, before[name])
        }


def candidate(
    problem: Problem,
    name: str,
    index: int,
    network: Architecture,
    widths: Sequence[int],
    target: float,
) -> Candidate:
    """A network of other widths, as a candidate."""
    return Candidate(
        name=name,
        index=index,
        changes={
            group.name: widths[group.choice]
            for group in problem.space.groups
            if widths[group.choice] != network.widths[group.choice]
        },
        architecture=network.with_widths(tuple(widths)),
        costs=costs(problem.space, widths),
        reached_target=problem.resource.cost(problem.space, widths) <= target,
    )


def _screen(
    ranking: Ranking,
    at: RoundId,
    standing: list[Candidate],
    cut: Outcomes,
    screening: Screening,
) -> Steps[list[Candidate]]:
    """Who is trained at all."""
    met = [one for one in standing if one.reached_target] or standing
    return (yield from _drop(ranking, at, standing, cut, screened(screening, len(met))))


def _drop(
    ranking: Ranking, at: RoundId, standing: list[Candidate], best: Outcomes, keep: int
) -> Steps[list[Candidate]]:
    """Journal who goes on and who does not, if anybody is dropped."""
    if keep == len(standing):
        return standing
    shown = ranking.shown(standing, best, keep)
    yield from ask(Decide(Dropped(id=at, ranking=shown)))
    return standing[:keep]


def _compare(
    ranking: Ranking,
    iteration: int,
    standing: Sequence[Candidate],
    best: Outcomes,
    source: Model,
) -> Steps[None]:
    """Have the winner compared with the runner-up, where one is left that has not failed."""
    first, *others = (one.name for one in standing if not best[one.name].failed)
    if others:
        yield from ask(Compare(iteration, first, others[0], ranking.quantity, best, source))


def _nobody(outcomes: Mapping[str, Outcome]) -> Ending:
    """Every survivor has failed: say why the last of them did."""
    failure = [outcome.failed for outcome in outcomes.values() if outcome.failed][-1]
    reason = "TooManyFailedCandidates"
    if failure.reason == TrainingDiverged.reason:
        reason = failure.reason
    return Ending(reason, f"no candidate had a quorum; the last: {failure.message}", failed=True)
