"""One client's local training and evaluation: torch, no files, no network."""

from fednas.training._augment import augment
from fednas.training._batch import normalise
from fednas.training._distil import distil
from fednas.training._evaluate import Evaluated, answers, evaluate, judge, recalibrate
from fednas.training._fingerprint import fingerprint, numerics
from fednas.training._train import Trained, train

__all__ = [
    "Evaluated",
    "Trained",
    "answers",
    "augment",
    "distil",
    "evaluate",
    "fingerprint",
    "judge",
    "normalise",
    "numerics",
    "recalibrate",
    "train",
]
