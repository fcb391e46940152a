"""What a client has to report for a task, and what is wrong with a report.

Two looks at an update: here at what the client says, then, by a task of kind ``accept`` in a worker
process, at the bytes that it uploaded. Either may refuse it, with a reason that is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from fednas.errors import DiedInTask, NotFound, StoreError
from fednas.fleet._expected import Expected, Form
from fednas.fleet._protocol import Complete, Refusal
from fednas.work import ACCEPT, KINDS, Accept, Task, TaskResult

__all__ = ["accept_task", "problem_of", "refusal_of", "result_of"]


def problem_of(task: Task, expected: Expected, report: Complete) -> Refusal | None:
    """What is wrong with a result by its report alone."""
    if report.outputs.keys() != expected.outputs.keys():
        wanted = sorted(expected.outputs)
        return Refusal(reason="WrongOutputs", message=f"has {sorted(report.outputs)}, not {wanted}")
    for name, output in report.outputs.items():
        size = expected.outputs[name].size
        if output.size != size:
            return Refusal(
                reason="WrongSize", message=f"{name} has {output.size} bytes, not {size}"
            )
    if expected.weight is not None and report.weight != expected.weight:
        return Refusal(
            reason="WrongWeight", message=f"weighs {report.weight:g}, not {expected.weight}"
        )
    missing = sorted(set(KINDS[task.kind].sums) - set(report.sums))
    if missing:
        return Refusal(reason="WrongSums", message=f"does not report {', '.join(missing)}")
    return None


def accept_task(task: Task, form: Form, name: str, key: str, digest: str) -> Task:
    """The look at what was uploaded to ``key`` for output ``name``."""
    return ACCEPT.task(
        f"{task.id}/accept/{name}"[-256:],
        Accept(upload=key, digest=digest, elements=form.elements),
    )


def refusal_of(error: BaseException) -> Refusal | None:
    """Why an upload was refused; None where the look at it failed by no fault of its sender."""
    match error:
        case NotFound():
            return Refusal(reason="NothingUploaded", message=str(error))
        case StoreError() | DiedInTask():
            return None
        case _:
            return Refusal(reason="BadUpdate", message=str(error))


def result_of(task: Task, report: Complete, accepted: Mapping[str, TaskResult]) -> TaskResult:
    """The result that counts: blobs that were checked, and the numbers that were asked for.

    Whatever else a client says is ignored.
    """
    return TaskResult(
        outputs={name: done.outputs["update"] for name, done in accepted.items()},
        sizes={name: output.size for name, output in report.outputs.items()},
        sums={name: report.sums[name] for name in KINDS[task.kind].sums},
        weight=report.weight,
        usage=report.usage,
    )
