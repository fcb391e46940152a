"""Where client work runs: local processes, or remote clients. Imports no torch itself."""

from fednas.fleet._cpus import available_cpus, worker_count
from fednas.fleet._local import LocalFleet, StoreSource
from fednas.fleet._watch import TaskDone, WatchedFleet

__all__ = [
    "LocalFleet",
    "StoreSource",
    "TaskDone",
    "WatchedFleet",
    "available_cpus",
    "worker_count",
]
