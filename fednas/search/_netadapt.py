"""NetAdapt over federated data: the search of FedNAS (Yuan et al., arXiv 2002.06352).

The loop is that of NetAdapt (Yang et al., arXiv 1804.03230), each candidate trained for a few
rounds by one group of clients (parallel candidates on partial clients), the worst dropped after the
first phase (early dropping). Sources in the authors' words: ``Res``, ``Con``, ``Bud``, ``dR0``,
``gamma`` are `macs`, `target`, `budget`, `first_step` and `step_decay` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fednas.federation import Outcome
from fednas.models import Architecture
from fednas.search._drop import top_k
from fednas.search._strategy import (
    Candidate,
    Decision,
    Ending,
    Entrant,
    Generate,
    NewRung,
    Problem,
    Rounds,
    Strategy,
)
from fednas.search._winner import rank_by_accuracy_per_resource
from fednas.seeds import derive_seed
from fednas.spec import NetAdapt

__all__ = ["net_adapt"]


def net_adapt(settings: NetAdapt, problem: Problem, start: Outcome) -> Strategy:
    """Shrink the network, one group of layers an iteration, until it is within the budget.

    Parameters
    ----------
    settings : NetAdapt
        ``strategy.netAdapt`` of the spec.
    problem : Problem
    start : Outcome
        The trained starting network on the validation rows.
    """
    space = problem.space
    full = space.macs(problem.architecture.widths)
    step = settings.filter_step or default_filter_step(problem.architecture.widths)
    rounds, top = settings.rounds.constant, settings.early_drop.top_k
    assert rounds is not None, "the only member of this union"
    assert top is not None, "the only member of this union"
    network, outcome, macs = problem.architecture, start, full

    for iteration in range(1, settings.max_iterations + 1):
        if macs <= problem.budget * full:
            break
        target = macs - settings.first_step * settings.step_decay ** (iteration - 1) * full
        candidates = generate(problem, network, target, step)
        if not candidates:
            return Ending("BudgetNotReachable", "no layer can be cut any further")

        outcomes = yield Generate(
            iteration, network, outcome.weights, macs, int(target), candidates
        )
        best, last = dict(outcomes), dict(outcomes)
        for round in range(1, rounds.pre + 1):
            last |= yield _rounds(problem, iteration, "pre", round, candidates, last)
            best = _best(best, last)

        ranked, kept = top_k(candidates, best, top.keep)
        yield Decision(iteration, "dropped", ranked)
        last = {candidate.name: best[candidate.name] for candidate in kept}
        for round in range(1, rounds.post + 1):
            last |= yield _rounds(problem, iteration, "post", round, kept, last)
            best = _best(best, last)

        kept = tuple(candidate for candidate in kept if not best[candidate.name].failed)
        if not kept:
            return Ending("TooManyFailedCandidates", "no candidate had a quorum", failed=True)
        evidence, winner = rank_by_accuracy_per_resource(
            kept, best, accuracy=outcome.accuracy, macs=macs, full=full
        )
        yield Decision(iteration, "winner", evidence)
        network, outcome, macs = winner.architecture, best[winner.name], winner.macs
        yield NewRung(iteration, winner, outcome)

    if macs <= problem.budget * full:
        return Ending("Completed", f"{macs / full:.3f} of the MACs, within the target")
    return Ending(
        "BudgetNotReachable",
        f"{macs / full:.3f} of the MACs after {settings.max_iterations} iterations; raise "
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
            macs = space.macs(cut)
            if macs < target:
                break
        found.append(
            Candidate(
                name=group.name,
                index=index,
                architecture=network.with_widths(cut),
                width_before=widths[index],
                width_after=width,
                macs=macs,
                params=space.params(cut),
                reached_target=macs < target,
            )
        )
    return tuple(found)


def _rounds(
    problem: Problem,
    iteration: int,
    phase: str,
    round: int,
    candidates: Sequence[Candidate],
    weights: Mapping[str, Outcome],
) -> Rounds:
    """Candidate b starts a phase on group (b + t) mod G; later groups are drawn."""
    entrants = []
    for candidate in candidates:
        if weights[candidate.name].failed:
            continue
        group = candidate.index + iteration
        if round > 1:
            group = derive_seed(problem.seed, "group", iteration, phase, candidate.name, round)
        entrants.append(Entrant(candidate, weights[candidate.name].weights, group % problem.groups))
    return Rounds(iteration, phase, round, tuple(entrants))


def _best(before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Each candidate's best round so far; the earlier of equals. A failure is for good."""
    return dict(before) | {
        name: outcome
        for name, outcome in after.items()
        if outcome.failed or outcome.accuracy > before[name].accuracy
    }
