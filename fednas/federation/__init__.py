"""One federated round: tasks, groups of clients, quorum and averaging."""

from fednas.federation._groups import default_group_count, longest_processing_time, round_robin
from fednas.federation._mean import weighted_mean
from fednas.federation._round import (
    Cohort,
    Federation,
    Outcome,
    Round,
    quorum_of,
    trained_samples,
)
from fednas.federation._task import CLOUD, Cost, Fleet, Pending, Result, Task

__all__ = [
    "CLOUD",
    "Cohort",
    "Cost",
    "Federation",
    "Fleet",
    "Outcome",
    "Pending",
    "Result",
    "Round",
    "Task",
    "default_group_count",
    "longest_processing_time",
    "quorum_of",
    "round_robin",
    "trained_samples",
    "weighted_mean",
]
