"""Take a small, class-balanced sample of CIFAR-10, and keep the remaining rows apart.

    python make_sample.py SOURCE SAMPLE REST [--seed 0]

SOURCE is a folder with CIFAR-10 in the Hugging Face layout: train.parquet and test.parquet with the
columns img (struct<bytes, path>) and label. SAMPLE gets 4,000 of the training images and 1,000 of
the test images; REST gets every other row. Start weights that are trained on REST have therefore
seen no image of SAMPLE. Needs numpy and pyarrow.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SAMPLES = {"train": 4000, "test": 1000}


def sample_rows(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of ``size`` rows, of each class the same number."""
    classes = np.unique(labels)
    chosen = np.zeros(len(labels), bool)
    for label in classes:
        members = np.flatnonzero(labels == label)
        chosen[rng.choice(members, size // len(classes), replace=False)] = True
    return chosen


def write(table: pa.Table, path: Path) -> None:
    """Write a table so that equal rows give equal bytes, and say what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=len(table))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}  {len(table)} rows  {path.stat().st_size} bytes  sha256 {digest}")


def main() -> None:
    """Split both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("sample", type=Path)
    parser.add_argument("rest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    for split, size in SAMPLES.items():
        table = pq.read_table(args.source / f"{split}.parquet", columns=["img", "label"])
        chosen = sample_rows(table.column("label").to_numpy(), size, rng)
        write(table.filter(pa.array(chosen)), args.sample / f"{split}.parquet")
        write(table.filter(pa.array(~chosen)), args.rest / f"{split}.parquet")


if __name__ == "__main__":
    main()
