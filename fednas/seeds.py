"""Every random choice derives from (seed, what it is for) by hashing, never from call order."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose.

    >>> derive_seed(0, "train", 3, "conv1", 2, "phone-7") == derive_seed(
    ...     0, "train", 3, "conv1", 2, "phone-7")
    True
    """
    text = "/".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
