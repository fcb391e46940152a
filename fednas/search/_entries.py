"""What a journal holds: the decisions of a search, each a frozen type with its key.

Keys are spelled and parsed here, in `Entry` and in `RoundId` alone. An entry holds what was decided
or counted, never what can be computed from it; who trained what in a round is a table of its own
(`Updates`), which `Closed` names by its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from fednas.errors import Corrupt
from fednas.federation import RoundId
from fednas.models import Architecture, Model
from fednas.search._entry import Entry, OfIteration, OfRound, Order
from fednas.search._parts import (
    ClientInfo,
    Compared,
    Layer,
    Offered,
    Quantity,
    Ranked,
    Reason,
    Totals,
)

__all__ = [
    "Added",
    "Closed",
    "Computed",
    "Consented",
    "Dropped",
    "Ended",
    "Generated",
    "Led",
    "Releasing",
    "Scored",
    "Started",
    "Tuned",
    "Won",
    "parse",
]

_LAST = 1 << 30


class Started(Entry):
    """All that the rest of the journal rests on.

    Parameters
    ----------
    spec : dict
        The identity of the spec: what determines the result.
    numerics : dict
        What the bits depend on, with their ``digest``.
    data : str
        Digest of the shards' contents.
    weights : str or None
        sha256 of the weights that the spec names.
    tables : dict
        Device class -> sha256 of its latency table, kept under ``tables/`` of the journal.
    floor : float
        Score of a network that learnt nothing.
    tested : bool
        Whether there are test rows.
    phases : tuple of str
        In order.
    round_samples : int
        Samples that all clients together process in one round.
    """

    word = "start"

    name: str
    spec: dict[str, Any]
    numerics: dict[str, str]
    data: str
    weights: str | None = None
    tables: dict[str, str] | None = None
    input: tuple[int, int, int]
    classes: int
    floor: float
    tested: bool
    architecture: Architecture
    costs: dict[str, int]
    layers: tuple[Layer, ...]
    left_out: tuple[dict[str, Any], ...]
    groups: tuple[tuple[str, ...], ...]
    clients: dict[str, ClientInfo]
    phases: tuple[str, ...]
    round_samples: int

    def order(self, phases: tuple[str, ...]) -> Order:
        return -1, 0, 0, 0


class Consented(Entry):
    """Somebody consented to go on with other numerics than the search began with."""

    numerics: dict[str, str]

    word = "consent"

    @property
    def key(self) -> str:
        return f"{self.word}/{self.numerics['digest']}"

    def order(self, phases: tuple[str, ...]) -> Order:
        return -1, 1, 0, 0


class Generated(OfIteration):
    """The candidates of an iteration.

    Parameters
    ----------
    costs : dict
        Of the network that they are cut from.
    resource : str
        What the target counts.
    target : int
        Of the iteration.
    planned : dict
        Phase -> rounds that a candidate trains which is neither dropped nor stopped early: the
        naive design gives them to every candidate.
    """

    word = "generated"

    costs: dict[str, int]
    resource: str
    target: int
    planned: dict[str, int]
    candidates: tuple[Offered, ...]

    def order(self, phases: tuple[str, ...]) -> Order:
        return self.iteration, -1, 0, 0


class Closed(OfRound):
    """A round was closed by these updates; written before they are averaged, replay obeys it.

    Parameters
    ----------
    group : int or None
        Of the cohort.
    updates : str or None
        sha256 of the table of updates; None where no cohort had a quorum.
    totals : Totals
    metrics : dict
        Means over the clients' samples: ``loss``.
    missing : tuple of str
        Clients of the cohort without an update.
    failure : Reason or None
        Why the last of them that failed did.
    """

    word, rank = "closed", 0

    group: int | None = None
    updates: str | None = None
    totals: Totals
    metrics: dict[str, float]
    missing: tuple[str, ...]
    failure: Reason | None = None


class Releasing(OfRound):
    """The aggregate of private updates is about to be given out; written before there is noise.

    Parameters
    ----------
    attempt : int
        Counts from 0: a process that died after this entry may have given the aggregate out.
    clients : str
        Who was asked, as hexadecimal digits: bit i is the i-th of the sorted names of all clients.
    releases : int
        In so many may the client be that is in the most, this one included.
    epsilon : float
        What they spend at the spec's delta.
    token : str
        Random, so that no two processes share one entry; it has nothing to do with the noise.
    """

    word, rank = "releasing", 1

    attempt: Annotated[int, Field(exclude=True)]
    clients: Annotated[str, Field(pattern="^[0-9a-f]+$")]
    releases: int
    epsilon: float
    token: str

    @property
    def key(self) -> str:
        return f"{self.id.key}-{self.attempt}-{self.word}"

    @classmethod
    def names(cls, key: str) -> dict[str, Any]:
        round, attempt, _ = key.rsplit("-", 2)
        return {"id": RoundId.parse(round), "attempt": int(attempt)}

    @property
    def indices(self) -> list[int]:
        """Of the clients."""
        return [i for i, bit in enumerate(reversed(f"{int(self.clients, 16):b}")) if bit == "1"]


class Scored(OfRound):
    """A network was evaluated on the validation rows: the aggregate of a round, or one just cut."""

    word, rank = "scored", 2

    blobs: dict[str, str]
    sums: dict[str, float]


class Computed(OfRound):
    """Work of the cloud that the strategy asked for: its blobs and numbers."""

    word, rank = "computed", 2

    outputs: dict[str, str]
    sums: dict[str, float]


class Dropped(OfRound):
    """Which candidates go on after a round, and which are dropped."""

    word, rank = "dropped", 3

    ranking: tuple[Ranked, ...]


class Led(OfIteration):
    """How far the winner is ahead of the runner-up, image by image of the validation rows.

    ``sums`` are those of the kind ``compare``; ``by`` says which of them the choice was made by.
    Nothing rests on it.
    """

    word, rank = "led", 0

    winner: str
    runner_up: str
    by: Quantity
    sums: dict[str, float]


class Won(OfIteration):
    """Which candidate becomes the next network."""

    word, rank = "won", 1

    winner: str
    ranking: tuple[Ranked, ...]


class Added(OfIteration):
    """A network was added to the ladder.

    Parameters
    ----------
    candidate : str
        Empty for the starting network.
    blobs, costs : dict
    sums : dict
        On the test rows where there are some, else on the validation rows.
    validation : dict
        On the validation rows.
    baseline : Compared or None
        What it is compared with.
    """

    word, rank = "rung", 2

    candidate: str
    architecture: Architecture
    blobs: dict[str, str]
    costs: dict[str, int]
    sums: dict[str, float]
    validation: dict[str, float]
    baseline: Compared | None = None

    @property
    def model(self) -> Model:
        """The network."""
        return Model(self.architecture, self.blobs)


class Tuned(OfRound):
    """A rung was taught or trained after the search, and is replaced.

    Parameters
    ----------
    rung : int
    best : int
        The round of the final training that counts; 0: as it was taught.
    blobs, sums, validation : dict
        As of `Added`.
    """

    word, rank = "tuned", 4

    rung: int
    best: int
    blobs: dict[str, str]
    sums: dict[str, float]
    validation: dict[str, float]


class Ended(Entry):
    """Why the search stopped."""

    word = "end"

    reason: str
    message: str
    failed: bool
    rungs: int

    def order(self, phases: tuple[str, ...]) -> Order:
        return _LAST, 0, 0, 0


_TYPES: dict[str, type[Entry]] = {
    entry.word: entry
    for entry in (
        Started,
        Consented,
        Generated,
        Closed,
        Releasing,
        Scored,
        Computed,
        Dropped,
        Led,
        Won,
        Added,
        Tuned,
        Ended,
    )
}


def parse(key: str, value: Mapping[str, Any]) -> Entry:
    """The entry of a record.

    Raises
    ------
    Corrupt
        It is none.
    """
    last = key.rpartition("/")[2].rpartition("-")[2]
    kind = _TYPES.get("consent" if key.startswith("consent/") else last)
    if kind is None:
        raise Corrupt(f"journal: {key}: is no entry of a search")
    try:
        entry = kind.read(key, value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Corrupt(f"journal: {key}: is no journal record: {where}: {first['msg']}") from None
    except (ValueError, Corrupt) as error:
        raise Corrupt(f"journal: {key}: is no journal record: {error}") from None
    if entry.key != key:
        raise Corrupt(f"journal: {key}: is the record of {entry.key}")
    return entry
