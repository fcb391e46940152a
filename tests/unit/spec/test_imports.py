"""The schema is for programs that have no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_schema_imports_no_heavy_library() -> None:
    code = (
        "import sys, fednas.spec; "
        "print(*sorted({'torch', 'numpy', 'mlflow', 'kopf', 'kubernetes'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == []
