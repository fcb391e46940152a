"""What becomes of the rungs that are used when the search is over.

The start teaches them, clients train them, and the largest of them, which then knows most, teaches
the others. Each of the three is the spec's to ask for. Teaching (knowledge distillation, Hinton et
al., arXiv 1503.02531) is the cloud's, on the validation images, and costs no client anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fednas.errors import SearchFailed
from fednas.federation import FINAL, RoundId
from fednas.search._begin import Start
from fednas.search._final import Best, train_finally
from fednas.search._nested import train_nested
from fednas.search._strategy import Distil, Outcome, Steps, Tune, ask
from fednas.search._view import View
from fednas.spec import Distillation, FederatedSearch, SearchSpec, clients

__all__ = ["Tuning", "tuning_of"]


@dataclass(frozen=True)
class Tuning:
    """What ``spec.distillation`` and ``spec.finalTraining`` ask for.

    Parameters
    ----------
    rungs : sequence of int
        Those that change, from the first.
    users : mapping
        Rung -> the clients whose device class gets it.
    iteration : int
        The one after the search's last.
    """

    rungs: Sequence[int]
    users: Mapping[int, Sequence[str]]
    iteration: int

    def steps(
        self, search: FederatedSearch, start: Start, outcomes: Mapping[int, Outcome]
    ) -> Steps[None]:
        """Of the rungs and the start, rung 0, as the search left them."""
        spec, iteration = search.spec, self.iteration
        training, rungs = spec.final_training, {rung: outcomes[rung] for rung in self.rungs}
        if not rungs:
            return
        taught = yield from self._taught(spec, rungs, outcomes[0])
        best: Best = {rung: (0, outcome) for rung, outcome in taught.items()}
        rungs |= taught
        if training is not None and training.nested:
            best |= yield from train_nested(
                rungs,
                self.users,
                training,
                spec.data,
                space=start.space_digest,
                seed=spec.seed,
                iteration=iteration,
            )
        elif training is not None:
            everybody = sorted(start.shards.clients)
            trained = dict(list(rungs.items())[:1]) if training.rungs == "largest" else rungs
            best |= yield from train_finally(
                trained, training, spec.data, everybody, seed=spec.seed, iteration=iteration
            )
        last = 0 if training is None else training.rounds
        if training is not None and spec.distillation is not None:
            last += 1
            best |= yield from self._taught_again(spec.distillation, rungs, best, last)
        for rung, (number, outcome) in sorted(best.items()):
            yield from ask(
                Tune(RoundId(iteration, FINAL, _name(rung), last), rung, number, outcome)
            )

    def _taught(
        self, spec: SearchSpec, rungs: Mapping[int, Outcome], start: Outcome
    ) -> Steps[dict[int, Outcome]]:
        """Those that clients then train, the largest where that is one; never the start."""
        how, training = spec.distillation, spec.final_training
        if how is None:
            return {}
        first = self.rungs[:1] if training is not None and training.as_one else self.rungs
        pupils = {rung: rungs[rung] for rung in first if rung}
        taught = yield from self._learn(how, pupils, start, 0)
        for outcome in taught.values():
            if outcome.failed is not None:
                raise SearchFailed(outcome.failed.reason, outcome.failed.message)
        return taught

    def _taught_again(
        self, how: Distillation, rungs: Mapping[int, Outcome], best: Best, number: int
    ) -> Steps[Best]:
        """By the largest, if clients have trained it: it knows what the start does not."""
        first, *others = self.rungs
        round, teacher = best.get(first, (0, None))
        if not round or teacher is None:
            return {}
        pupils = {rung: best.get(rung, (0, rungs[rung])) for rung in others}
        taught = yield from self._learn(
            how, {rung: outcome for rung, (_, outcome) in pupils.items()}, teacher, number
        )
        return {
            rung: (pupils[rung][0], outcome)
            for rung, outcome in taught.items()
            if outcome.failed is None  # else it stays as it was
        }

    def _learn(
        self, how: Distillation, pupils: Mapping[int, Outcome], teacher: Outcome, number: int
    ) -> Steps[dict[int, Outcome]]:
        if not pupils:
            return {}
        models = {_name(rung): outcome.model for rung, outcome in sorted(pupils.items())}
        at = RoundId(self.iteration, FINAL, "", number)
        done = yield from ask(Distil(at, models, teacher.model, how))
        return {rung: done[_name(rung)] for rung in pupils}


def tuning_of(search: FederatedSearch, view: View) -> Tuning | None:
    """None where the spec asks for nothing; the same when a search is resumed in it."""
    if not search.spec.goes_on:
        return None
    training = search.spec.final_training
    chosen = view.selected(search, view.searched)
    users: dict[int, list[str]] = {}
    for client in clients(search):
        rung = chosen[client.device_class]
        if rung is not None:
            users.setdefault(rung.rung, []).append(client.name)
    ladder = range(len(view.ladder))
    every = training is not None and training.rungs == "all"
    return Tuning(ladder if every else sorted(users), users, len(ladder))


def _name(rung: int) -> str:
    return f"rung-{rung:02}"
