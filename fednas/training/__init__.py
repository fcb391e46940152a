"""One client's local training and evaluation: torch, no files, no network."""

from fednas.training._batch import normalise
from fednas.training._evaluate import Evaluated, evaluate, recalibrate
from fednas.training._train import Sgd, Trained, train

__all__ = [
    "Evaluated",
    "Sgd",
    "Trained",
    "evaluate",
    "normalise",
    "recalibrate",
    "train",
]
