from __future__ import annotations

import subprocess
import sys

import pytest

from fednas.fleet._client import Backoff


def test_waits_double_up_to_a_cap_with_jitter() -> None:
    backoff = Backoff(first=0.2, longest=3.0)
    waits = [backoff.wait() for _ in range(8)]
    for wait, longest in zip(waits, [0.2, 0.4, 0.8, 1.6, 3, 3, 3, 3], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits[4:])) > 1
    backoff.reset()
    assert backoff.wait() <= 0.2


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fednas.fleet._client", {"torch", "mlflow", "minio", "fastapi"}),
        ("fednas.fleet._server", {"torch", "mlflow"}),
        ("fednas.cli._coordinator", {"torch", "mlflow", "matplotlib"}),
        ("fednas.fleet", {"torch", "mlflow", "minio", "fastapi", "httpx"}),
    ],
)
def test_programs_load_no_more_than_they_need(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {absent!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
