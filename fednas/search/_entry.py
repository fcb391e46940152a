"""What an entry of a journal is: a frozen value, its key, and its place in the story."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import ConfigDict, Field

from fednas.errors import Corrupt
from fednas.federation import RoundId
from fednas.search._parts import Value

__all__ = ["Entry", "OfIteration", "OfRound", "Order"]

Order = tuple[int, int, int, int]
"""Where an entry stands in the story: iteration, phase, round, kind. What has a lower place was
written before; entries of one place are of candidates in parallel."""

E = TypeVar("E", bound="Entry")


class Entry(Value):
    """One decision. ``id`` and whatever else names it are in the key and not in the value."""

    word: ClassVar[str]
    """The last part of its key."""

    @property
    def key(self) -> str:
        """Under which it lies in the journal."""
        return self.word

    def order(self, phases: tuple[str, ...]) -> Order:
        """Its place in the story; ``phases`` are those of the search, in order."""
        raise NotImplementedError

    def value(self) -> dict[str, Any]:
        """JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def read(cls: type[E], key: str, value: Mapping[str, Any]) -> E:
        """What `value` wrote."""
        return cls.model_validate({**value, **cls.names(key)})

    @classmethod
    def names(cls, key: str) -> dict[str, Any]:
        """What the key says."""
        return {}


class OfIteration(Entry):
    """An entry of which each iteration has at most one; by ``rank``, after its rounds."""

    rank: ClassVar[int]
    iteration: Annotated[int, Field(exclude=True)]

    @property
    def key(self) -> str:
        return self.key_of(self.iteration)

    @classmethod
    def key_of(cls, iteration: int) -> str:
        """The key of this kind of entry for an iteration."""
        return f"{iteration:04}/{cls.word}"

    @classmethod
    def names(cls, key: str) -> dict[str, Any]:
        return {"iteration": int(key.partition("/")[0])}

    def order(self, phases: tuple[str, ...]) -> Order:
        return self.iteration, len(phases), 0, self.rank


class OfRound(Entry):
    """An entry about one round."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rank: ClassVar[int]
    id: Annotated[RoundId, Field(exclude=True)]

    @property
    def key(self) -> str:
        return self.key_of(self.id)

    @classmethod
    def key_of(cls, id: RoundId) -> str:
        """The key of this kind of entry for a round."""
        return f"{id.key}-{cls.word}"

    @classmethod
    def names(cls, key: str) -> dict[str, Any]:
        return {"id": RoundId.parse(key.rpartition("-")[0])}

    def order(self, phases: tuple[str, ...]) -> Order:
        if self.id.phase not in phases:
            raise Corrupt(f"journal: {self.key}: the search has no phase {self.id.phase!r}")
        return self.id.iteration, phases.index(self.id.phase), self.id.number, self.rank
