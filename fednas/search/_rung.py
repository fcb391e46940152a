"""A network of the ladder, and which of them a class of devices gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fednas.models import Architecture
from fednas.spec import Bound

__all__ = ["Rung", "rung_file", "select"]


@dataclass(frozen=True)
class Rung:
    """A trained network of the ladder; rung 0 is the starting network.

    ``accuracy`` is the score on the test rows where the data set has some, else on the validation
    rows; ``costs`` what it costs in every resource; ``share`` its cost in the target's
    ``resource`` as a share of the start's; ``sha256`` that of its weight blob.
    ``searched_accuracy`` is that before the final training, where there was one, and
    ``baseline_accuracy`` that of the start thinned alike to the same cost, which costs nobody
    anything.
    """

    rung: int
    accuracy: float
    validation_accuracy: float
    validation_loss: float
    costs: Mapping[str, int]
    resource: str
    share: float
    sha256: str
    architecture: Architecture
    searched_accuracy: float
    baseline_accuracy: float | None = None
    trained: bool = False

    @property
    def file(self) -> str:
        """The name of its weights beside the ladder."""
        return rung_file(self.rung, trained=self.trained)

    @property
    def advantage(self) -> float | None:
        """How much better the search has made it than thinning alike."""
        if self.baseline_accuracy is None:
            return None
        return self.searched_accuracy - self.baseline_accuracy

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one sample."""
        return self.costs["macs"]

    @property
    def params(self) -> int:
        """Trainable values."""
        return self.costs["params"]

    @property
    def cost(self) -> int:
        """In the target's resource."""
        return self.costs[self.resource]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, camelCase; a cost by the name of its resource."""
        return {
            "rung": self.rung,
            "accuracy": self.accuracy,
            "searchedAccuracy": self.searched_accuracy,
            "baselineAccuracy": self.baseline_accuracy,
            "validationAccuracy": self.validation_accuracy,
            "validationLoss": self.validation_loss,
            **self.costs,
            "share": self.share,
            "sha256": self.sha256,
            "file": self.file,
            "architecture": self.architecture.model_dump(),
        }


def rung_file(rung: int, *, trained: bool = False) -> str:
    """The name of a rung's weights beside the ladder, as searched or trained on."""
    return f"rung-{rung:02}{'-final' if trained else ''}.safetensors"


def select(ladder: Sequence[Rung], budget: Bound) -> Rung | None:
    """The rung within a budget of the least loss on the validation rows, of equals the smaller.

    FLRA's deployment selector (arXiv 2106.11570). The largest is not always the best, and accuracy
    on few rows cannot tell neighbours apart. Those that were trained after the search come first:
    the others look better on these rows than they are, for by them they were chosen.

    Parameters
    ----------
    ladder : sequence of Rung
        From the starting network on.
    budget : Bound
        In whichever resource, be it the target's or not.
    """
    if not ladder:
        return None
    name = budget.resource
    full = ladder[0].costs[name]
    most = budget.share_of(full)
    fitting = [rung for rung in ladder if rung.costs[name] / full <= most]
    fitting = [rung for rung in fitting if rung.trained] or fitting
    return min(fitting, key=lambda rung: (rung.validation_loss, -rung.rung), default=None)
