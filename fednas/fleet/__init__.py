"""Where client work runs: local processes, or remote clients. Imports no torch itself."""

from fednas.fleet._cpus import available_cpus, worker_count
from fednas.fleet._local import LocalFleet, StoreSource

__all__ = ["LocalFleet", "StoreSource", "available_cpus", "worker_count"]
