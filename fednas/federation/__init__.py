"""One federated round: groups of clients, quorum, deadlines, updates and their average."""

from fednas.federation._gather import Gathering
from fednas.federation._groups import default_group_count, longest_processing_time, round_robin
from fednas.federation._id import FINAL, INITIAL, RoundId
from fednas.federation._noise import noised_mean, normal
from fednas.federation._round import (
    Closing,
    Cohort,
    Failure,
    Federation,
    Member,
    Round,
    quorum_of,
)
from fednas.federation._updates import COUNTS, Updates

__all__ = [
    "COUNTS",
    "FINAL",
    "INITIAL",
    "Closing",
    "Cohort",
    "Failure",
    "Federation",
    "Gathering",
    "Member",
    "Round",
    "RoundId",
    "Updates",
    "default_group_count",
    "longest_processing_time",
    "noised_mean",
    "normal",
    "quorum_of",
    "round_robin",
]
