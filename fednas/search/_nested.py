"""Training after the search, of all networks in use as one.

The largest of them is the whole; in it the others are nested, each group of theirs the first of its
filters (slimmable networks, Yu et al., arXiv 1812.08928). A client trains what its device class
gets, and with each batch one of the smaller networks inside it, drawn (Horvath et al., FjORD, arXiv
2102.13451). So no client trains more than its class can carry, what several train they share, and
the cost does not grow with the number of networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

from fednas.errors import SearchFailed
from fednas.federation import FINAL, Cohort, RoundId
from fednas.models import Architecture, Model
from fednas.search._draw import draw_cohort
from fednas.search._final import Best, keep_best, step_share
from fednas.search._strategy import Compute, Entrant, Evaluate, Outcome, Steps, Train, ask
from fednas.spec import Data, FinalTraining
from fednas.work import ARRANGE, MERGE, TRAIN, Arrange, Merge
from fednas.work import Train as TrainParams

__all__ = ["train_nested"]


def train_nested(
    rungs: Mapping[int, Outcome],
    clients: Mapping[int, Sequence[str]],
    training: FinalTraining,
    data: Data,
    *,
    space: str,
    seed: int,
    iteration: int,
) -> Steps[Best]:
    """Train some rungs of a ladder as one network; the best round of each by loss counts.

    Parameters
    ----------
    rungs : mapping
        Rung -> the network, as evaluated; a later one is narrower.
    clients : mapping
        Rung -> the clients whose device class gets it.
    data : Data
        Says how rows are augmented.
    space : str
        sha256 of the space, by which filters are put in order.
    iteration : int
        The one after the search's last.

    Raises
    ------
    SearchFailed
        A rung is not narrower than the one before it, as a strategy of one's own may leave them.
    """
    networks = _nested(rungs)
    names = {rung: f"rung-{rung:02}" for rung in networks}
    first, *_ = networks
    parts = {names[rung]: network for rung, network in networks.items()}

    def within(network: Architecture) -> tuple[Architecture, ...]:
        ordered = list(networks.values())
        return tuple(ordered[ordered.index(network) + 1 :])

    def by(number: int, network: Architecture) -> TrainParams:
        rate = step_share(training, number)
        return TrainParams.by(training, data, network, rate=rate, within=within(network))

    def at(subject: str, number: int) -> RoundId:
        return RoundId(iteration, FINAL, subject, number)

    def merge(number: int, whole: str, trained: Mapping[str, Outcome]) -> Compute:
        return Compute(
            at("whole", number),
            MERGE,
            Merge(
                whole=networks[first],
                nested=parts,
                weights={name: outcome.trained for name, outcome in trained.items()},
            ),
            {"space": space, "weights": whole}
            | {name: one.model.weights for name, one in trained.items()},
        )

    arranged = yield from ask(
        Compute(
            at("arranged", 0),
            ARRANGE,
            Arrange(architecture=networks[first]),
            {"weights": rungs[first].model.weights, "space": space},
        )
    )
    merged = yield from ask(merge(0, arranged.outputs["weights"], {}))
    best: Best = {}
    for number in range(1, training.rounds + 1):
        cohorts = _cohorts(clients, training.clients_per_round, seed, number)
        outcomes = yield from ask(
            Train(
                at("", number),
                {
                    names[rung]: Entrant(
                        Model(networks[rung], {"weights": merged.outputs[names[rung]]}),
                        partial(_cohort, clients[rung], drawn, seed, names[rung], number),
                    )
                    for rung, drawn in cohorts.items()
                },
                TRAIN,
                partial(by, number),
            )
        )
        trained = {name: one for name, one in outcomes.items() if not one.failed}
        if not trained:
            continue
        merged = yield from ask(merge(number, merged.outputs["weights"], trained))
        for rung, name in names.items():
            model = Model(networks[rung], {"weights": merged.outputs[name]})
            outcome = yield from ask(Evaluate(at(f"{name}-merged", number), model))
            keep_best(best, rung, number, outcome)
    return best


def _nested(rungs: Mapping[int, Outcome]) -> dict[int, Architecture]:
    """Rung -> its network, from the widest to the narrowest."""
    networks = {rung: rungs[rung].model.architecture for rung in sorted(rungs)}
    for (above, wide), (below, narrow) in pairwise(networks.items()):
        if any(a < b for a, b in zip(wide.widths, narrow.widths, strict=True)):
            raise SearchFailed(
                "NotNested",
                f"rung {below} is wider than rung {above} in some layer, so that they cannot be "
                "trained as one: set finalTraining.nested to false",
            )
    return networks


def _cohorts(
    clients: Mapping[int, Sequence[str]], count: int, seed: int, number: int
) -> dict[int, tuple[str, ...]]:
    """Who is drawn of the clients of each rung; a rung of which nobody is, is left out."""
    everybody = sorted(name for some in clients.values() for name in some)
    drawn = set(draw_cohort(everybody, count, seed, FINAL, number, 0).clients)
    found = {rung: tuple(sorted(drawn & set(some))) for rung, some in clients.items()}
    return {rung: some for rung, some in found.items() if some}


def _cohort(
    clients: Sequence[str],
    drawn: tuple[str, ...],
    seed: int,
    name: str,
    number: int,
    attempt: int,
) -> Cohort:
    """Those that were drawn; where they found no quorum, as many others that get this rung."""
    if not attempt:
        return Cohort(drawn)
    return draw_cohort(clients, len(drawn), seed, f"{FINAL}/{name}", number, attempt)
