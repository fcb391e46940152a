"""Rounds whose clients are promised privacy: bounded updates, noise, and an account of both.

Each aggregate that is given out is a *release*, and tells a little of every client that was asked
to take part; so many releases later the promise, epsilon, is used up. Who takes part follows from
the seed of the spec, which is no secret, so nothing is taken off for the others not knowing it, and
what counts is the client that was asked most.

A release is journalled before its noise is drawn (`Releasing`). A process that dies after that may
have given it out: when the search goes on, other noise is drawn, and both count.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import sqrt

from fednas.errors import BadInput
from fednas.federation import Round, Updates, noised_mean
from fednas.models import Architecture, decode, encode
from fednas.search._begin import Start
from fednas.search._entries import Releasing, Scored
from fednas.search._recorder import Recorder
from fednas.search._view import View
from fednas.spec import ClientLevel, FederatedSearch
from fednas.store import Blobs
from fednas.work import TRAIN, TRAIN_CLIPPED, TrainClipped, learnt

__all__ = ["BudgetSpent", "Private", "check_privacy", "epsilon_of", "private_of"]


class BudgetSpent(Exception):
    """The next release would exceed the budget."""


def epsilon_of(releases: int, promise: ClientLevel) -> float:
    """What so many releases spend of the promise to a client that is in all of them.

    Releases of the Gaussian mechanism are together as one whose noise is smaller by the square root
    of their number (Dong, Roth and Su, arXiv 1905.02383); its epsilon, by Balle and Wang (arXiv
    1805.06530), is exact and is the library's.

    Raises
    ------
    BadInput
        dp-accounting is not installed.
    """
    if not releases:
        return 0.0
    try:
        from dp_accounting import get_epsilon_gaussian
    except ImportError:
        raise BadInput(
            "spec.privacy.clientLevel: needs the library dp-accounting, which is not installed; "
            "pip install 'fednas[privacy]'"
        ) from None
    return float(get_epsilon_gaussian(promise.noise_multiplier / sqrt(releases), promise.delta))


def check_privacy(search: FederatedSearch) -> None:
    """A budget that not even one release keeps to leaves nothing to search.

    Raises
    ------
    BadInput
    """
    promise = search.spec.privacy.client_level
    if promise is None:
        return
    least = epsilon_of(1, promise)
    if least > promise.epsilon:
        raise BadInput(
            f"spec.privacy.clientLevel.epsilon: got {promise.epsilon:g}; must be at least "
            f"{least:.4g}, which one round spends with noiseMultiplier "
            f"{promise.noise_multiplier:g}; or raise that"
        )


def private_of(
    search: FederatedSearch, start: Start, recorder: Recorder, blobs: Blobs
) -> Private | None:
    """What keeps a search's promise to its clients; None where there is none."""
    promise = search.spec.privacy.client_level
    if promise is None:
        return None
    return Private(
        promise,
        recorder,
        blobs,
        start.shards.clients,
        lambda network: start.space.shapes(network.widths),
    )


class Private:
    """Plays the private part of rounds.

    Parameters
    ----------
    promise : ClientLevel
    recorder : Recorder
    blobs : Blobs
        Of weights.
    clients : iterable of str
        All of the search.
    shapes : callable
        Architecture -> name and shape of each of its tensors, in the order of the weight vector.
    """

    def __init__(
        self,
        promise: ClientLevel,
        recorder: Recorder,
        blobs: Blobs,
        clients: Iterable[str],
        shapes: Callable[[Architecture], Mapping[str, tuple[int, ...]]],
    ) -> None:
        self._promise = promise
        self._recorder = recorder
        self._view: View = recorder.view
        self._blobs = blobs
        self._index = {name: index for index, name in enumerate(sorted(clients))}
        self._shapes = shapes
        self._lock = asyncio.Lock()

    def clipped(self, round: Round) -> Round:
        """The same round, of which clients send clipped updates.

        Raises
        ------
        BadInput
            Of the round's kind nobody has said what its updates may tell.
        """
        if round.kind is not TRAIN:
            raise BadInput(
                f"spec.privacy.clientLevel: the strategy has clients do {round.kind.name!r}; must "
                f"be {TRAIN.name!r}, the one kind of work whose updates can be clipped"
            )
        params = TrainClipped(**dict(round.params), clip_norm=self._promise.clip_norm)
        return replace(round, kind=TRAIN_CLIPPED, params=params)

    def check(self, rounds: Iterable[Round]) -> None:
        """That all of these rounds are within the budget, as far as they are not played yet.

        All or none: else it would be chance which of them gets what is left.

        Raises
        ------
        BudgetSpent
        """
        played = self._view.get
        self._check(round.cohort(0).clients for round in rounds if played(Scored, round.id) is None)

    def _check(self, cohorts: Iterable[Sequence[str]]) -> None:
        asked = Counter(self._index[client] for cohort in cohorts for client in cohort)
        if not asked:
            return
        counted = self._view.releases
        most = max(counted[client] + times for client, times in asked.items())
        epsilon = epsilon_of(most, self._promise)
        if epsilon > self._promise.epsilon:
            raise BudgetSpent(
                f"the next round would spend epsilon {epsilon:.4g} of a client in {most} releases, "
                f"of a budget of {self._promise.epsilon:g}; a larger noiseMultiplier, more clients "
                "or fewer rounds would go further"
            )

    async def release(self, round: Round, updates: Updates, asked: Sequence[str]) -> dict[str, str]:
        """Journal that a round is released, then do it: name -> sha256.

        It is done here and not by a task, for a task whose worker dies is tried again unheard of.

        Parameters
        ----------
        asked : sequence of str
            The clients of the updates, and those that gave none.
        """
        async with self._lock:  # two candidates must not both take what is left
            self._check([asked])
            indices = sorted(self._index[client] for client in asked)
            most = max(self._view.releases[index] for index in indices) + 1
            await self._recorder.write(
                Releasing(
                    id=round.id,
                    attempt=self._view.attempts[round.id.key],
                    clients=f"{sum(1 << index for index in indices):x}",
                    releases=most,
                    epsilon=epsilon_of(most, self._promise),
                    token=secrets.token_hex(8),
                )
            )
        digests = updates.digests["update"]
        return {"weights": await asyncio.to_thread(self._noised, round, digests, len(asked))}

    def _noised(self, round: Round, digests: Sequence[str], asked: int) -> str:
        mean = noised_mean(
            decode(self._blobs.get(round.model.weights)),
            (decode(self._blobs.get(digest)) for digest in digests),
            learnt(self._shapes(round.model.architecture).items()),
            clip_norm=self._promise.clip_norm,
            noise_multiplier=self._promise.noise_multiplier,
            asked=asked,
        )
        return self._blobs.put(encode(mean), durable=True)
