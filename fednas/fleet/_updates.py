"""What a client has to report for a task, and what is wrong with a report.

Two looks at an update: here at what the client says, then, by a task of kind ``accept`` in a worker
process, at the bytes that it uploaded. Either may refuse it, with a reason that is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fednas.errors import DiedInTask, NotFound, StoreError
from fednas.federation import CLOUD, Result, Task
from fednas.fleet._expected import Expected
from fednas.fleet._protocol import Complete

__all__ = ["Refused", "accept_task", "outputs_of", "problem_of", "refusal_of", "result_of"]


@dataclass(frozen=True)
class _Report:
    """What counts of a report; whatever else a client says is ignored."""

    outputs: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()


_REPORTS = {"train": _Report(("weights",), ("samples", "loss"))}


@dataclass(frozen=True)
class Refused:
    """An update does not count: a CamelCase reason, and in words."""

    reason: str
    message: str


def outputs_of(task: Task) -> tuple[str, ...]:
    """The names of the outputs that a client may upload."""
    return _REPORTS.get(task.kind, _Report()).outputs


def problem_of(task: Task, expected: Expected, report: Complete) -> Refused | None:
    """What is wrong with a result by its report alone."""
    known = _REPORTS.get(task.kind, _Report())
    if sorted(report.outputs) != sorted(known.outputs):
        return Refused("WrongOutputs", f"has {sorted(report.outputs)}, not {sorted(known.outputs)}")
    for name, output in report.outputs.items():
        if output.size != expected.size:
            return Refused("WrongSize", f"{name} has {output.size} bytes, not {expected.size}")
    if expected.weight is not None and report.weight != expected.weight:
        return Refused("WrongWeight", f"weighs {report.weight:g}, not {expected.weight}")
    missing = sorted(set(known.scalars) - set(report.scalars))
    if missing:
        return Refused("WrongScalars", f"does not report {', '.join(missing)}")
    return None


def accept_task(task: Task, expected: Expected, name: str, key: str, digest: str) -> Task:
    """The look at what was uploaded to ``key`` for output ``name``."""
    return Task(
        id=f"{task.id}/accept/{name}"[-256:],
        kind="accept",
        client=CLOUD,
        params={"upload": key, "digest": digest, "elements": expected.elements},
    )


def refusal_of(error: BaseException) -> Refused | None:
    """Why an upload was refused; None where the look at it failed by no fault of its sender."""
    match error:
        case NotFound():
            return Refused("NothingUploaded", str(error))
        case StoreError() | DiedInTask():
            return None
        case _:
            return Refused("BadUpdate", str(error))


def result_of(task: Task, report: Complete, accepted: Mapping[str, Result]) -> Result:
    """The result that counts: blobs that were checked, and the numbers that were asked for."""
    known = _REPORTS.get(task.kind, _Report())
    return Result(
        outputs={name: done.outputs["weights"] for name, done in accepted.items()},
        scalars={
            **{name: report.scalars[name] for name in known.scalars},
            "bytes": sum(output.size for output in report.outputs.values()),
        },
        weight=report.weight,
        cost=report.cost,
    )
