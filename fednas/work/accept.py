"""The look at what a client uploaded, before it counts."""

from __future__ import annotations

import hashlib

import numpy as np

from fednas.errors import Corrupt, TaskFailed
from fednas.models import decode
from fednas.work._kind import Kind, Params, Source, Work
from fednas.work._task import Task

__all__ = ["ACCEPT", "Accept"]


class Accept(Params):
    """An upload: its key, the sha256 that was reported, and how many numbers it must hold."""

    upload: str
    digest: str
    elements: int


def run(task: Task, params: Accept, source: Source) -> Work:
    """Output update: the upload, if digest, form and length are right and all is finite."""
    blob = source.upload(params.upload)
    if hashlib.sha256(blob).hexdigest() != params.digest:
        raise TaskFailed("update: its bytes do not have the digest that was reported")
    try:
        vector = decode(blob)
    except Corrupt as error:
        raise TaskFailed(f"update: {error}") from None
    if vector.size != params.elements:
        raise TaskFailed(f"update: has {vector.size} numbers, not {params.elements}")
    if not np.isfinite(vector).all():
        raise TaskFailed("update: holds NaN or infinity")
    return Work({"update": blob})


ACCEPT = Kind("accept", Accept, run)
