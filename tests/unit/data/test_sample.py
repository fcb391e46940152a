import hashlib
import re
from pathlib import Path

import numpy as np

from fednas.data import load_dataset

SAMPLE = Path(__file__).parents[3] / "examples" / "cifar10"


def test_the_cifar10_sample_loads_and_is_balanced():
    sample = load_dataset(SAMPLE)
    assert sample.images.shape == (4000, 3, 32, 32)
    assert sample.test_images.shape == (10000, 3, 32, 32)
    assert np.bincount(sample.labels).tolist() == [400] * 10
    assert np.bincount(sample.test_labels).tolist() == [1000] * 10


def test_the_files_are_those_that_the_readme_names():
    text = (SAMPLE / "README.md").read_text()
    named = dict(re.findall(r"\| `(\w+\.parquet)` .* `([0-9a-f]{64})` \|", text))
    assert sorted(named) == ["test.parquet", "train.parquet"]
    for name, digest in named.items():
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == digest
