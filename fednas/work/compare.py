"""Two networks beside each other on the same rows, image by image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fednas.models import Architecture
from fednas.work._answers import reference_answers
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._modules import loaded
from fednas.work._task import Task

__all__ = ["COMPARE", "Compare"]


class Compare(Params):
    """What is compared, and with what."""

    architecture: Architecture
    rival: Architecture
    reference: Architecture | None = None
    """The network from whose answers both diverge; without one their losses are compared."""


def run(task: Task, params: Compare, source: Source) -> Work:
    """Inputs weights and rival, data shard; neither network's statistics are recomputed.

    The sums are over the rows: ``difference``, the rival's loss less the network's, or their
    divergences where there is an input reference, and ``squares`` of that; ``won`` and ``lost``,
    rows that the network alone, and that the rival alone, gets right; ``samples``.
    """
    from fednas.training import judge

    rows = source.rows(task.data["shard"])
    reference = reference_answers(task, params.reference, source)

    def judged(
        network: Architecture, name: str
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        module = loaded(network, source.blob(task.inputs[name]))
        return judge(
            module, rows, network.input_shape, normalize=network.normalize, reference=reference
        )

    # One after the other: of equal architectures the module is the same.
    losses, right = judged(params.architecture, "weights")
    rivals, theirs = judged(params.rival, "rival")
    differences = rivals - losses
    return Work(
        sums={
            "difference": float(differences.sum()),
            "squares": float((differences**2).sum()),
            "won": float((right & ~theirs).sum()),
            "lost": float((theirs & ~right).sum()),
            "samples": float(len(rows)),
        }
    )


COMPARE = Kind("compare", Compare, run, samples=lambda params, rows: rows, passes=2)
