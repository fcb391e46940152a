"""How many one-thread workers fit into this process's share of the machine.

Read from the control groups, versions 1 and 2, the least limit on the way up. Inside a container
the group's own path may not be mounted; then what is mounted is the container's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["available_cpus", "cpu_quota", "memory_limit", "worker_count"]

WORKER_BYTES = 330 << 20
"""Of a worker process that trains or evaluates MobileNetV1 0.25 at 32 px (measured: 240 to 320)."""


def available_cpus(root: Path = Path("/")) -> int:
    """Whole CPUs that this process may use: floor(quota), at most its affinity, at least one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.floor(min(cpu_quota(root), usable or 1)))


def worker_count(other_bytes: int, root: Path = Path("/"), *, most: int | None = None) -> int:
    """Workers by CPUs, but no more than the memory limit holds beside ``other_bytes``.

    Parameters
    ----------
    other_bytes : int
        What the program needs beside its workers.
    most : int, optional
        No more than so many. In a container that has no limit of CPU, every core of its node
        counts as this process's; whoever made the container knows better.
    """
    cpus = available_cpus(root) if most is None else min(available_cpus(root), most)
    limit = memory_limit(root)
    if limit == math.inf:
        return cpus
    return max(1, min(cpus, math.floor((limit - other_bytes) / WORKER_BYTES)))


def cpu_quota(root: Path = Path("/")) -> float:
    """CPUs that the control groups grant; infinity without a limit."""
    v2 = (_cpu_v2(folder / "cpu.max") for folder in _groups(root, ""))
    v1 = (_cpu_v1(folder) for folder in _groups(root, "cpu"))
    return min((*v2, *v1), default=math.inf)


def memory_limit(root: Path = Path("/")) -> float:
    """Bytes that the control groups grant; infinity without a limit."""
    v2 = (_bytes(folder / "memory.max") for folder in _groups(root, ""))
    v1 = (_bytes(folder / "memory.limit_in_bytes") for folder in _groups(root, "memory"))
    return min((*v2, *v1), default=math.inf)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups that this process is in, for version 2 (``""``) or a controller."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller not in controllers.split(","):
            continue
        for mount in dict.fromkeys((controller, controllers)):
            inner = PurePosixPath(path.lstrip("/"))
            for folder in (inner, *inner.parents):
                yield root / "sys/fs/cgroup" / mount / folder


def _cpu_v2(file: Path) -> float:
    for line in _lines(file):
        quota, period = line.split()
        return math.inf if quota == "max" else int(quota) / int(period)
    return math.inf


def _cpu_v1(folder: Path) -> float:
    for quota in _lines(folder / "cpu.cfs_quota_us"):
        for period in _lines(folder / "cpu.cfs_period_us"):
            return math.inf if int(quota) <= 0 else int(quota) / int(period)
    return math.inf


def _bytes(file: Path) -> float:
    for line in _lines(file):
        if line != "max" and int(line) < 1 << 60:  # version 1 writes a huge number for "none"
            return int(line)
    return math.inf


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split("\n")[:-1] if file.is_file() else []
    except OSError:
        return []
