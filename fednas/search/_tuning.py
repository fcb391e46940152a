"""What becomes of the rungs that are used when the search is over: they are taught, and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fednas.federation import FINAL, RoundId
from fednas.search._begin import Start
from fednas.search._final import Best, train_finally
from fednas.search._nested import train_nested
from fednas.search._strategy import Distil, Outcome, Steps, Tune, ask
from fednas.search._view import View
from fednas.spec import FederatedSearch, SearchSpec, clients

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
        taught = yield from self._taught(spec, rungs, outcomes[0])
        best: Best = {rung: (0, outcome) for rung, outcome in taught.items()}
        rungs |= taught
        if training is not None and training.nested and rungs:
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
            best |= yield from train_finally(
                rungs, training, spec.data, everybody, seed=spec.seed, iteration=iteration
            )
        last = training.rounds if training is not None else 0
        for rung, (number, outcome) in sorted(best.items()):
            yield from ask(
                Tune(RoundId(iteration, FINAL, _name(rung), last), rung, number, outcome)
            )

    def _taught(
        self, spec: SearchSpec, rungs: Mapping[int, Outcome], start: Outcome
    ) -> Steps[dict[int, Outcome]]:
        """Those that are smaller than the start; of networks that train as one, the largest."""
        how, training = spec.distillation, spec.final_training
        pupils = [rung for rung in self.rungs if rung]
        if training is not None and training.nested:
            pupils = [rung for rung in self.rungs[:1] if rung]
        if how is None or not pupils:
            return {}
        models = {_name(rung): rungs[rung].model for rung in pupils}
        at = RoundId(self.iteration, FINAL, "", 0)
        done = yield from ask(Distil(at, models, start.model, how))
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
