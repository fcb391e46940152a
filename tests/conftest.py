"""Settings for all tests: seeded property tests without a clock, one torch thread."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Before any test imports torch: more threads would change the bits and share the two cores badly.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test reports to anybody.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

settings.register_profile(
    "fednas",
    deadline=None,
    derandomize=True,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fednas")
