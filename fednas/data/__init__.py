"""Data sets, their partition over clients, and the shards that tasks read."""

from fednas.data._dataset import Dataset
from fednas.data._digits import DIGITS, load_digits
from fednas.data._files import Splits, split_files
from fednas.data._parquet import load_parquet
from fednas.data._partition import MIN_SAMPLES, partition
from fednas.data._rows import Rows, encode_rows, open_rows, split_rows
from fednas.data._shards import Shard, Shards, make_shards, shards_key
from fednas.data._source import load_dataset, load_files, source_digest

__all__ = [
    "DIGITS",
    "MIN_SAMPLES",
    "Dataset",
    "Rows",
    "Shard",
    "Shards",
    "Splits",
    "encode_rows",
    "load_dataset",
    "load_digits",
    "load_files",
    "load_parquet",
    "make_shards",
    "open_rows",
    "partition",
    "shards_key",
    "source_digest",
    "split_files",
    "split_rows",
]
