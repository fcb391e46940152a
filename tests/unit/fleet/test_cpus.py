from __future__ import annotations

import math
from pathlib import Path

import pytest

from fednas.fleet._cpus import available_cpus, cpu_quota, memory_limit, worker_count


def group(root: Path, own: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": own, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, math.inf),
        ("0::/", {}, math.inf),
        # Nested: the least on the way up holds.
        (
            "0::/kubepods/pod1",
            {
                "sys/fs/cgroup/kubepods/pod1/cpu.max": "300000 100000",
                "sys/fs/cgroup/kubepods/cpu.max": "200000 100000",
            },
            2.0,
        ),
        # In a container of version 1 the own path is not mounted, the mount is the group.
        (
            "4:memory:/x\n3:cpu,cpuacct:/kubepods/pod1\n0::/",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            1.5,
        ),
        (
            "3:cpu:/",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            math.inf,
        ),
    ],
)
def test_the_quota_of_both_versions_of_control_groups(
    tmp_path: Path, own: str, files: dict[str, str], quota: float
) -> None:
    assert cpu_quota(group(tmp_path, own, files)) == quota


def test_half_a_cpu_is_one_worker(tmp_path: Path) -> None:
    group(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"})
    assert available_cpus(tmp_path) == 1


def test_no_more_workers_than_the_affinity_allows(tmp_path: Path) -> None:
    group(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "100000000 100000"})
    assert 1 <= available_cpus(tmp_path) < 1000


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/", {"sys/fs/cgroup/memory.max": "805306368"}, 768 << 20),
        ("0::/", {"sys/fs/cgroup/memory.max": "max"}, math.inf),
        ("4:memory:/x", {"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824"}, 1 << 30),
        ("4:memory:/", {"sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096)}, math.inf),
    ],
)
def test_the_memory_limit_of_both_versions(
    tmp_path: Path, own: str, files: dict[str, str], limit: float
) -> None:
    assert memory_limit(group(tmp_path, own, files)) == limit


def test_memory_holds_fewer_workers_than_the_cpus_could_run(tmp_path: Path) -> None:
    group(tmp_path, "0::/", {"sys/fs/cgroup/memory.max": str(768 << 20)})
    assert worker_count(180 << 20, tmp_path) == 1
    assert worker_count(1 << 40, tmp_path) == 1


def test_an_unlimited_container_starts_no_more_workers_than_it_was_made_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "max 100000"})
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert worker_count(180 << 20, tmp_path) == 64
    assert worker_count(180 << 20, tmp_path, most=1) == 1
    assert worker_count(180 << 20, tmp_path, most=100) == 64


def test_memory_holds_also_where_more_are_allowed(tmp_path: Path) -> None:
    group(tmp_path, "0::/", {"sys/fs/cgroup/memory.max": str(768 << 20)})
    assert worker_count(180 << 20, tmp_path, most=8) == 1
