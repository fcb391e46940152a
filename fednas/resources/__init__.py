"""What a network costs: multiply-accumulates and parameters.

The definition of MACs is half of what PyTorch's flop counter says, everywhere. `Terms` gives the
same numbers for any widths without running the network.
"""

from fednas.resources._macs import count_macs, count_params
from fednas.resources._terms import Terms

__all__ = ["Terms", "count_macs", "count_params"]
