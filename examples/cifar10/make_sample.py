"""Take a small, class-balanced sample of CIFAR-10's training images, and keep the others apart.

    python make_sample.py SOURCE SAMPLE REST [--seed 0]

SOURCE is a folder with CIFAR-10 in the Hugging Face layout: train.parquet and test.parquet with the
columns img (struct<bytes, path>) and label. SAMPLE gets 4,000 of the training images, REST the
others, and both the test images. Start weights that are trained on REST have therefore seen no
image of SAMPLE. Needs numpy and pyarrow.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SAMPLE = 4000


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
    """Split the training images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("sample", type=Path)
    parser.add_argument("rest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    train, test = (
        pq.read_table(args.source / f"{split}.parquet", columns=["img", "label"])
        for split in ("train", "test")
    )
    rng = np.random.default_rng(args.seed)
    chosen = sample_rows(train.column("label").to_numpy(), SAMPLE, rng)
    write(train.filter(pa.array(chosen)), args.sample / "train.parquet")
    write(train.filter(pa.array(~chosen)), args.rest / "train.parquet")
    for folder in (args.sample, args.rest):
        write(test, folder / "test.parquet")


if __name__ == "__main__":
    main()
