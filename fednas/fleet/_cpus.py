"""How many one-thread workers fit into this process's share of the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

__all__ = ["available_cpus", "cpu_quota"]


def available_cpus(root: Path = Path("/")) -> int:
    """Whole CPUs that this process may use: floor(quota), at most its affinity, at least one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.floor(min(cpu_quota(root), usable or 1)))


def cpu_quota(root: Path = Path("/")) -> float:
    """CPUs that the control groups grant: the least on the way up; infinity without a limit.

    Reads version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``). Inside a container the
    group's own path may not be mounted; then what is mounted is the container's.
    """
    least = math.inf
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", path):
                least = min(least, _v2(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct"):
                for folder in _upwards(root / "sys/fs/cgroup" / mount, path):
                    least = min(least, _v1(folder))
    return least


def _upwards(mount: Path, path: str) -> list[Path]:
    inner = PurePosixPath(path.lstrip("/"))
    return [mount / inner, *(mount / parent for parent in inner.parents)]


def _v2(file: Path) -> float:
    for line in _lines(file):
        quota, period = line.split()
        return math.inf if quota == "max" else int(quota) / int(period)
    return math.inf


def _v1(folder: Path) -> float:
    for quota in _lines(folder / "cpu.cfs_quota_us"):
        for period in _lines(folder / "cpu.cfs_period_us"):
            return math.inf if int(quota) <= 0 else int(quota) / int(period)
    return math.inf


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split("\n")[:-1] if file.is_file() else []
    except OSError:
        return []
