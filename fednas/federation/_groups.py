"""Groups of clients: each candidate trains on one of them a round (FedNAS, arXiv 2002.06352)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["default_group_count", "longest_processing_time", "round_robin"]

Groups = tuple[tuple[str, ...], ...]


def default_group_count(candidates: int, clients: int) -> int:
    """min(candidates, clients // 5), at least 1: groups of two or three know no quorum."""
    return max(1, min(candidates, clients // 5))


def round_robin(clients: Sequence[str], count: int) -> Groups:
    """Client i goes to group i mod ``count``: for IID data, as the authors' code does."""
    return tuple(tuple(sorted(clients[g::count])) for g in range(count))


def longest_processing_time(samples: Mapping[str, int], count: int) -> Groups:
    """Balance the groups by samples: for non-IID data, as the authors' code does.

    Clients by descending number of samples, ties by name, each to the group that has the least
    samples so far, ties to the group of least clients and then of lowest index.
    """
    groups: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for client in sorted(samples, key=lambda name: (-samples[name], name)):
        least = min(range(count), key=lambda g: (totals[g], len(groups[g]), g))
        groups[least].append(client)
        totals[least] += samples[client]
    return tuple(tuple(sorted(group)) for group in groups)
