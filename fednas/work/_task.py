"""What crosses the boundary between a search and whoever works for it.

A task is *a named kind of work* on named blobs, giving named blobs and numbers. The search knows
nothing else about its workers, and a worker nothing else about the search. Tasks are stateless:
the same task gives the same outputs wherever and however often it runs.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CLOUD", "Fleet", "Pending", "Task", "TaskDone", "TaskResult", "Usage"]

CLOUD = "cloud"
"""The ``client`` of work that belongs to no client: cutting, aggregation, central evaluation."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(_Message):
    """One piece of work; made by `Kind.task`.

    Parameters
    ----------
    id : str
        Unique within a search: ``0003/pre/conv1/02/phone-7``.
    kind : str
        A name in `KINDS`.
    client : str
        Whose data it works on, or `CLOUD`.
    inputs : dict of str to str
        Name -> sha256 of a weight blob.
    params : dict
        The kind's own parameters as JSON values; `Kind.params` says which.
    data : dict of str to str
        Name -> sha256 of a data blob (a shard).
    seed : int
        For every random choice in it.
    """

    id: str = Field(max_length=256)
    kind: str = Field(max_length=32)
    client: str = Field(max_length=64)
    inputs: dict[str, str] = {}
    params: dict[str, Any] = {}
    data: dict[str, str] = {}
    seed: int = 0


class Usage(_Message):
    """What one task took, as observed: not deterministic."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_rss_bytes: int = 0


class TaskResult(_Message):
    """What a task gave.

    Parameters
    ----------
    outputs : dict of str to str
        Name -> sha256 of a blob that lies in the store.
    sizes : dict of str to int
        Name -> bytes of that blob.
    sums : dict of str to float
        Counts and metrics, named by the kind: ``samples``, ``correct``, ``loss``.
    weight : float
        Share of this result in a weighted mean: the client's number of samples.
    usage : Usage
    """

    outputs: dict[str, str] = {}
    sizes: dict[str, int] = {}
    sums: dict[str, float] = {}
    weight: float = 0.0
    usage: Usage = Usage()


@dataclass(eq=False)
class Pending:
    """A task under way."""

    task: Task
    future: Future[TaskResult] = field(default_factory=Future)
    started: Future[float] = field(default_factory=Future)
    """Resolves when a worker first takes the task: its clock starts then."""


@dataclass(frozen=True)
class TaskDone:
    """A task ended: with a result, or with a reason for having none."""

    task: Task
    result: TaskResult | None
    reason: str | None = None


class Fleet(Protocol):
    """Where tasks run: local processes, or remote clients."""

    def submit(self, task: Task) -> Pending:
        """Queue a task; may wait for the store.

        Its future gives the `TaskResult`, or raises `fednas.errors.TaskFailed`.
        """

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for it any more; a result that still comes is dropped."""

    def close(self) -> None:
        """End the workers."""
