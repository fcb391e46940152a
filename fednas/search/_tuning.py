"""Which rungs are trained when the search is over, by whom, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fednas.search._begin import Start
from fednas.search._final import train_finally
from fednas.search._nested import train_nested
from fednas.search._strategy import Outcome, Steps
from fednas.search._view import View
from fednas.spec import FederatedSearch, clients

__all__ = ["Tuning", "tuning_of"]


@dataclass(frozen=True)
class Tuning:
    """What ``spec.finalTraining`` asks for.

    Parameters
    ----------
    rungs : sequence of int
        Those that are trained, from the first.
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
        """Of the rungs, as the search left them."""
        spec = search.spec
        training, seed, iteration = spec.final_training, spec.seed, self.iteration
        assert training is not None
        if training.nested and outcomes:
            return train_nested(
                outcomes,
                self.users,
                training,
                spec.data,
                space=start.space_digest,
                seed=seed,
                iteration=iteration,
            )
        everybody = sorted(start.shards.clients)
        return train_finally(
            outcomes, training, spec.data, everybody, seed=seed, iteration=iteration
        )


def tuning_of(search: FederatedSearch, view: View) -> Tuning | None:
    """None where the spec asks for no training; the same when a search is resumed in it."""
    training = search.spec.final_training
    if training is None:
        return None
    chosen = view.selected(search, view.searched)
    users: dict[int, list[str]] = {}
    for client in clients(search):
        rung = chosen[client.device_class]
        if rung is not None:
            users.setdefault(rung.rung, []).append(client.name)
    ladder = range(len(view.ladder))
    return Tuning(sorted(users) if training.rungs == "selected" else ladder, users, len(ladder))
