"""Which training samples each client holds."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from fednas.errors import DataError

__all__ = ["MIN_SAMPLES", "partition"]

MIN_SAMPLES = 2
"""Batch normalisation needs two samples in a batch, so every client holds at least that many."""

Indices = NDArray[np.int64]


def partition(
    labels: NDArray[np.int64], clients: int, *, alpha: float | None = None, seed: int
) -> list[Indices]:
    """Split the samples over the clients: disjoint, complete, the same for the same arguments.

    Parameters
    ----------
    labels : int64 array [n]
    clients : int
    alpha : float, optional
        None: IID, every client the same number of samples give or take one. Otherwise each
        class is spread over the clients by a draw of Dirichlet(alpha): the smaller, the more
        unlike the clients (Yurochkin et al., arXiv 1905.12022; Li et al., arXiv 2102.02079).
        Clients that a draw leaves with fewer than two samples get the missing ones from the
        largest client.
    seed : int

    Returns
    -------
    list of int64 arrays
        Ascending sample indices, one array a client, each of at least `MIN_SAMPLES`.

    Raises
    ------
    DataError
        When there are fewer than two samples a client.
    """
    if len(labels) < MIN_SAMPLES * clients:
        raise DataError(
            f"{clients} clients need at least {MIN_SAMPLES} training samples each, "
            f"and there are {len(labels)}: take fewer clients (spec.deviceClasses[].clients)"
        )
    rng = np.random.default_rng(seed)
    if alpha is None:
        shares = np.array_split(rng.permutation(len(labels)), clients)
    else:
        shares = _dirichlet(labels, clients, alpha, rng)
    return [np.sort(share).astype(np.int64) for share in shares]


def _dirichlet(
    labels: NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    pieces: list[list[Indices]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        proportions = rng.dirichlet(np.full(clients, alpha))
        cuts = (np.cumsum(proportions)[:-1] * len(members)).astype(np.int64)
        for held, piece in zip(pieces, np.split(members, cuts), strict=True):
            held.append(piece)
    return _level([rng.permutation(np.concatenate(held)) for held in pieces])


def _level(shares: list[Indices]) -> list[Indices]:
    """Move samples from the largest client of the moment to those that have too few."""
    largest = [(-len(share), client) for client, share in enumerate(shares)]
    heapq.heapify(largest)
    for client in range(len(shares)):
        while len(shares[client]) < MIN_SAMPLES:
            negative_size, giver = heapq.heappop(largest)
            shares[client] = np.append(shares[client], shares[giver][-1])
            shares[giver] = shares[giver][:-1]
            heapq.heappush(largest, (negative_size + 1, giver))
    return shares
