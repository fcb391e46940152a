"""What a task can be, declared once: parameters, outputs, sums, cost, and the work itself.

The worker runs a kind, the lease signs URLs for its outputs, the acceptance of an update checks
them, the federation averages them by name, and the ledger counts their MACs: all read the same
declaration. A new kind is one file in this package and one line in the table of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fednas.data import Rows
from fednas.errors import TaskFailed
from fednas.models import Architecture
from fednas.work._task import CLOUD, Task

__all__ = ["Kind", "Output", "Params", "Source", "Work", "execute"]


class Params(BaseModel):
    """Parameters of a kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Params)


class Source(Protocol):
    """Where a task's blobs come from."""

    def blob(self, digest: str) -> bytes:
        """A weight blob, verified."""

    def rows(self, digest: str) -> Rows:
        """A shard, uint8 [n, 2 + C*H*W], memory-mapped where it is a file."""

    def upload(self, key: str) -> bytes:
        """What a client uploaded: unverified bytes."""


@dataclass(frozen=True)
class Work:
    """What running a kind gives: blobs by name, numbers, and its weight in a mean."""

    outputs: dict[str, bytes] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    weight: float = 0.0


@dataclass(frozen=True)
class Output:
    """One blob that a kind gives.

    Parameters
    ----------
    name : str
    like : str
        The input that has as many numbers; what a client uploads is checked against it.
    """

    name: str
    like: str = "weights"


def _none(params: Params, rows: int) -> int:
    return 0


def _no_more(params: Params) -> Sequence[Architecture]:
    return ()


@dataclass(frozen=True)
class Kind(Generic[P]):
    """A named kind of work.

    Parameters
    ----------
    name : str
    params : type
        Of the parameters.
    run : callable
        The work: a function of task, parameters and blobs, without input or output of its own.
        Imports torch, if at all, when it is called.
    outputs : tuple of Output
        What clients' updates consist of; each is averaged over a round's clients by its name.
    sums : tuple of str
        The numbers that a client has to report.
    samples : callable
        Parameters, rows of the client's shard -> samples that the client processes.
    passes : int
        Cost of a sample in forward passes of the network: 3 with the backward pass.
    within : callable
        Parameters -> networks of which one, drawn, is passed through besides.
    """

    name: str
    params: type[P]
    run: Callable[[Task, P, Source], Work]
    outputs: tuple[Output, ...] = ()
    sums: tuple[str, ...] = ()
    samples: Callable[[P, int], int] = _none
    passes: int = 0
    within: Callable[[P], Sequence[Architecture]] = _no_more

    def task(
        self,
        id: str,
        params: P,
        *,
        client: str = CLOUD,
        inputs: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> Task:
        """A task of this kind; see `Task`."""
        return Task(
            id=id,
            kind=self.name,
            client=client,
            inputs=dict(inputs or {}),
            params=params.model_dump(mode="json"),
            data=dict(data or {}),
            seed=seed,
        )

    def execute(self, task: Task, source: Source) -> Work:
        """Do a task of this kind."""
        try:
            params = self.params.model_validate(task.params)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise TaskFailed(f"{task.id}: params.{where}: {first['msg']}") from None
        return self.run(task, params, source)


def execute(task: Task, source: Source) -> Work:
    """Do a task of any kind.

    Raises
    ------
    TaskFailed
        An unknown kind, or whatever went wrong in it.
    """
    from fednas.work import KINDS

    kind = KINDS.get(task.kind)
    if kind is None:
        known = ", ".join(sorted(KINDS))
        raise TaskFailed(f"kind {task.kind!r}: unknown; this worker knows {known}")
    return kind.execute(task, source)
