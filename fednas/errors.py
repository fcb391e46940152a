"""Every error that fednas raises on purpose.

    FednasError
    ├── BadInput (also ValueError)     what the user wrote is wrong; exit code 2
    │   ├── SpecError                  a FederatedSearch; carries one line per field
    │   ├── DataError                  a data set, start weights or a target that cannot be read
    │   ├── OtherSpec                  the search was begun with another spec
    │   └── OtherNumerics              this machine computes other bits; waits, or wants consent
    ├── SearchFailed                   the search ended without what was asked; exit code 1
    ├── TaskFailed                     one client task gave no update; the round goes on without it
    │   ├── DiedInTask                 its worker process died
    │   └── TrainingDiverged           NaN or infinity: it would be so again
    └── StoreError
        ├── NotFound                   no object of that name
        ├── Corrupt                    bytes that do not match their digest
        ├── Diverged                   a journal record exists with other contents
        └── StoreUnreachable           the store does not answer

``reason`` is the CamelCase word that status conditions show.
"""

from __future__ import annotations

__all__ = [
    "BadInput",
    "Corrupt",
    "DataError",
    "DiedInTask",
    "Diverged",
    "FednasError",
    "NotFound",
    "OtherNumerics",
    "OtherSpec",
    "SearchFailed",
    "SpecError",
    "StoreError",
    "StoreUnreachable",
    "TaskFailed",
    "TrainingDiverged",
]


class FednasError(Exception):
    """The root of the tree."""

    reason = "InternalError"


class BadInput(FednasError, ValueError):
    """What the user wrote is wrong. The message names the field and what would be right."""

    reason = "BadInput"


class SpecError(BadInput):
    """A FederatedSearch that cannot be run.

    Parameters
    ----------
    problems : sequence of str
        One line per problem: ``spec.target.macs.share: got 1.5; must be less than 1``.
    """

    reason = "InvalidSpec"

    def __init__(self, problems: list[str] | tuple[str, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(BadInput):
    """A data set, start weights or a target that cannot be read."""

    reason = "DataUnreadable"


class OtherSpec(BadInput):
    """The search that is to go on was begun with another spec; nothing is lost by it."""


class OtherNumerics(BadInput):
    """Going on here would give other bits than the search began with; nothing is lost by it.

    It is a reason to wait for a machine like the first, or for consent, never an end.
    """

    reason = "OtherNumerics"


class SearchFailed(FednasError):
    """The search ended without a result.

    Parameters
    ----------
    reason : str
        CamelCase, as in the status condition: ``StartingNetworkUntrained``.
    message : str
        What happened and what to do about it.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class TaskFailed(FednasError):
    """A task gave no result."""

    reason = "TaskFailed"


class DiedInTask(TaskFailed):
    """The worker process that ran the task died (out of memory, killed)."""

    reason = "DiedInTask"


class TrainingDiverged(TaskFailed):
    """Training gave NaN or infinity. The same task would again, so it is not tried again."""

    reason = "TrainingDiverged"


class StoreError(FednasError):
    """The store could not do what was asked."""

    reason = "StoreError"


class NotFound(StoreError):
    """No object of that name."""

    reason = "ObjectNotFound"


class Corrupt(StoreError):
    """The bytes of an object do not match its digest, or cannot be parsed."""

    reason = "StoreCorrupt"


class Diverged(StoreError):
    """A journal record exists already, with other contents.

    Two coordinators of one search computed different decisions; going on would mix two searches.
    """

    reason = "Diverged"


class StoreUnreachable(StoreError):
    """The store does not answer."""

    reason = "StoreUnreachable"
