"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass
class Backoff:
    """Seconds to wait after each failure in a row: doubling, capped, jittered."""

    first: float = 0.2
    longest: float = 10.0
    _next: float = 0.0

    def wait(self) -> float:
        """How long this time."""
        self._next = min(self.longest, 2 * self._next or self.first)
        return self._next * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def reset(self) -> None:
        """It worked."""
        self._next = 0.0
