"""Who trained what in one round: a table of columns, one blob a round.

At ten thousand clients a record per client would be the whole journal; as columns an update takes
some 70 bytes. The blob is a safetensors file without metadata, so equal tables give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fednas.errors import Corrupt

__all__ = ["COUNTS", "Updates"]

Counts = npt.NDArray[np.int64]

COUNTS = ("samples", "trained", "macs", "bytes_down", "bytes_up")
"""What is counted of each update, besides the metrics that its kind reports."""

_DIGEST, _METRIC = "sha256.", "metric."


@dataclass(frozen=True, eq=False)
class Updates:
    """The updates that closed a round, in ascending order of clients.

    Parameters
    ----------
    clients : int32 array [n]
        Indices into the sorted names of all clients of the search.
    digests : mapping of str to sequence of str
        Name of an output -> its sha256 for each client.
    counts : mapping of str to int64 array [n]
        `COUNTS`: rows of the client's shard, samples processed, multiply-accumulates of forward and
        backward passes, bytes to and from the client.
    metrics : mapping of str to float64 array [n]
        What clients report: ``loss``.
    """

    clients: npt.NDArray[np.int32]
    digests: Mapping[str, Sequence[str]]
    counts: Mapping[str, Counts]
    metrics: Mapping[str, npt.NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.clients)

    def total(self, count: str) -> int:
        """A count over all clients."""
        return int(self.counts[count].sum())

    def mean(self, metric: str) -> float:
        """A metric over all clients, each weighted by the samples that it processed."""
        weights = self.counts["trained"]
        return float((self.metrics[metric] * weights).sum() / weights.sum())

    def encode(self) -> bytes:
        """The blob."""
        columns: dict[str, npt.NDArray[np.generic]] = {"client": self.clients}
        columns |= {name: self.counts[name] for name in COUNTS}
        for name, digests in self.digests.items():
            raw = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8)
            columns[_DIGEST + name] = raw.reshape(len(digests), 32)
        columns |= {_METRIC + name: column for name, column in self.metrics.items()}
        return save({name: np.ascontiguousarray(columns[name]) for name in sorted(columns)})

    @classmethod
    def decode(cls, blob: bytes) -> Updates:
        """What `encode` wrote.

        Raises
        ------
        Corrupt
            It is something else.
        """
        try:
            columns = load(blob)
            rows = columns["client"].shape[:1]
            if not rows or any(column.shape[:1] != rows for column in columns.values()):
                raise ValueError("its columns differ in length")
            return cls(
                clients=columns["client"],
                digests={
                    name.removeprefix(_DIGEST): [row.tobytes().hex() for row in column]
                    for name, column in columns.items()
                    if name.startswith(_DIGEST)
                },
                counts={name: columns[name] for name in COUNTS},
                metrics={
                    name.removeprefix(_METRIC): column
                    for name, column in columns.items()
                    if name.startswith(_METRIC)
                },
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise Corrupt(f"updates of a round: is no table of updates ({error})") from None
