"""How sure a choice was: how far the winner is ahead of the runner-up, beside what chance does.

Both networks answered the same validation images, so each image is compared with itself: one that
is hard for both says nothing, and far fewer images tell two networks apart than would if each had
images of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fednas.search._entries import Led

__all__ = ["Lead"]


@dataclass(frozen=True)
class Lead:
    """A mean over the validation images, and its standard error; above 0 the winner is better.

    Parameters
    ----------
    mean : float
        Ranked by loss: the runner-up's loss less the winner's, in nats. Ranked by accuracy: the
        winner's share of right answers less the runner-up's.
    error : float
        Of the mean of the images' differences. For accuracies it follows from the images that one
        of both alone gets right, as in McNemar's test (Psychometrika 12, 1947).
    """

    mean: float
    error: float

    @classmethod
    def of(cls, entry: Led) -> Lead | None:
        """What an entry tells; a single image tells of no chance."""
        sums, count = entry.sums, entry.sums["samples"]
        total, squares = sums["difference"], sums["squares"]
        if entry.by == "accuracy":  # an image's difference is 1, 0 or -1
            total, squares = sums["won"] - sums["lost"], sums["won"] + sums["lost"]
        if count < 2:
            return None
        variance = max(0.0, squares - total**2 / count) / (count - 1)
        return cls(total / count, math.sqrt(variance / count))

    @property
    def is_sure(self) -> bool:
        """Whether it is more than two standard errors."""
        return self.mean > 2 * self.error
