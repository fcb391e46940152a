"""What a worker can be asked to do: tasks, and the kinds of work, one a file.

Importing this package imports no torch: a kind does so when it runs.
"""

from typing import Any

from fednas.work._clip import clipped, learnt
from fednas.work._kind import Kind, Output, Params, Source, Work, execute
from fednas.work._mean import weighted_mean
from fednas.work._task import CLOUD, Fleet, Pending, Task, TaskDone, TaskResult, Usage
from fednas.work.accept import ACCEPT, Accept
from fednas.work.aggregate import AGGREGATE, Aggregate
from fednas.work.compare import COMPARE, Compare
from fednas.work.derive import DERIVE, Derive
from fednas.work.distil import DISTIL, Distil
from fednas.work.evaluate import EVALUATE, Evaluate
from fednas.work.initialise import INITIALISE, Initialise
from fednas.work.nested import ARRANGE, MERGE, Arrange, Merge
from fednas.work.trace import TRACE, Trace
from fednas.work.train import TRAIN, Train, trained_samples
from fednas.work.train_clipped import TRAIN_CLIPPED, TrainClipped

__all__ = [
    "ACCEPT",
    "AGGREGATE",
    "ARRANGE",
    "CLOUD",
    "COMPARE",
    "DERIVE",
    "DISTIL",
    "EVALUATE",
    "INITIALISE",
    "KINDS",
    "MERGE",
    "TRACE",
    "TRAIN",
    "TRAIN_CLIPPED",
    "Accept",
    "Aggregate",
    "Arrange",
    "Compare",
    "Derive",
    "Distil",
    "Evaluate",
    "Fleet",
    "Initialise",
    "Kind",
    "Merge",
    "Output",
    "Params",
    "Pending",
    "Source",
    "Task",
    "TaskDone",
    "TaskResult",
    "Trace",
    "Train",
    "TrainClipped",
    "Usage",
    "Work",
    "clipped",
    "execute",
    "learnt",
    "trained_samples",
    "weighted_mean",
]

KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        *(ACCEPT, AGGREGATE, ARRANGE, COMPARE, DERIVE, DISTIL, EVALUATE),
        *(INITIALISE, MERGE, TRACE, TRAIN, TRAIN_CLIPPED),
    )
}
"""Every kind of work by name."""
