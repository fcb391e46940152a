"""What names a round, wherever it is spoken of: in keys, task ids and seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fednas.errors import Corrupt

__all__ = ["FINAL", "INITIAL", "RoundId"]

INITIAL = "initial"
"""The phase of the training before the search, iteration 0."""

FINAL = "final"
"""The phase of the training after the search, of the networks that are used; an iteration more."""


@dataclass(frozen=True, order=True)
class RoundId:
    """A round, or the evaluation that a phase begins with (number 0).

    Parameters
    ----------
    iteration : int
        0 is the training of the starting network.
    phase : str
        One of the phases that the strategy declares, `INITIAL` or `FINAL`.
    subject : str
        The candidate; empty where there is but one network.
    number : int
        Counts the rounds of a phase from 1.
    """

    iteration: int
    phase: str
    subject: str
    number: int

    @property
    def key(self) -> str:
        """``0003/pre/conv1/02``."""
        parts = [f"{self.iteration:04}", self.phase, self.subject, f"{self.number:02}"]
        return "/".join(part for part in parts if part)

    @classmethod
    def parse(cls, key: str) -> RoundId:
        """What `key` wrote.

        Raises
        ------
        Corrupt
            It is something else.
        """
        parts = key.split("/")
        if len(parts) == 3:
            parts.insert(2, "")
        try:
            iteration, phase, subject, number = parts
            return cls(int(iteration), phase, subject, int(number))
        except ValueError:
            raise Corrupt(f"{key!r} names no round") from None

    def of(self, subject: str) -> RoundId:
        """The same round of another candidate."""
        return replace(self, subject=subject)
