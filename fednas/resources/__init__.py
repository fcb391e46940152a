"""What a network costs: multiply-accumulates, parameters, and its time on a device.

The definition of MACs is half of what PyTorch's flop counter says, everywhere. `Terms` gives the
same numbers for any widths without running the network; a `LatencyTable` tells the time of layers
that were measured.
"""

from fednas.resources._latency import (
    NETWORK,
    LatencyRow,
    LatencyTable,
    read_latencies,
    write_latencies,
)
from fednas.resources._macs import count_macs, count_params
from fednas.resources._operation import Key, Operation
from fednas.resources._terms import Terms

__all__ = [
    "NETWORK",
    "Key",
    "LatencyRow",
    "LatencyTable",
    "Operation",
    "Terms",
    "count_macs",
    "count_params",
    "read_latencies",
    "write_latencies",
]
