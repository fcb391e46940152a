"""Values of the chart that the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHART = Path(__file__).parents[1] / "charts/fednas"


def values_in_the_docs() -> list[str]:
    """Every block of YAML in docs/operate.md that is values of the chart."""
    text = (CHART.parents[1] / "docs/operate.md").read_text(encoding="utf-8")
    known = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [block for block in blocks if yaml.safe_load(block).keys() <= known.keys()]
