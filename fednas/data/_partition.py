"""Which training samples each client holds: one function a partition of the spec."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from fednas.errors import DataError
from fednas.spec import Partition

__all__ = ["MIN_SAMPLES", "partition"]

MIN_SAMPLES = 2
"""Batch normalisation needs two samples in a batch, so every client holds at least that many."""

Indices = NDArray[np.int64]


def partition(
    how: Partition,
    labels: NDArray[np.int64],
    clients: int,
    *,
    seed: int,
    values: NDArray[np.int64] | None = None,
) -> list[Indices]:
    """Split the samples over the clients: disjoint, complete, the same for the same arguments.

    Parameters
    ----------
    how : Partition
        ``iid``: every client the same number of samples give or take one.
        ``dirichlet``: each class is spread over the clients by a draw of Dirichlet(alpha): the
        smaller, the more unlike the clients (Yurochkin et al., arXiv 1905.12022; Li et al., arXiv
        2102.02079).
        ``shards``: the samples, sorted by label, are cut into clients * perClient shards of the
        same size give or take one, and each client gets perClient of them (McMahan et al., arXiv
        1602.05629).
        ``column``: whole values, the largest first, each to the client with the fewest samples.
        ``quantitySkew``: the clients' shares of the samples are a draw of Dirichlet(alpha), and
        what each holds is drawn at random (Li et al.).
        Clients that a draw of Dirichlet leaves with fewer than two samples get the missing ones
        from the largest client.
    labels : int64 array [n]
    clients : int
    seed : int
    values : int64 array [n], optional
        The value of the column in each sample, numbered; needed by ``column``.

    Returns
    -------
    list of int64 arrays
        Ascending sample indices, one array a client, each of at least `MIN_SAMPLES`.

    Raises
    ------
    DataError
        When there are fewer than two samples a client, fewer samples than shards, or too few
        values. Names the field.
    """
    if len(labels) < MIN_SAMPLES * clients:
        raise DataError(
            f"{clients} clients need at least {MIN_SAMPLES} training samples each, "
            f"and there are {len(labels)}: take fewer clients (spec.deviceClasses[].clients)"
        )
    rng = np.random.default_rng(seed)
    if how.dirichlet is not None:
        shares = _dirichlet(labels, clients, how.dirichlet.alpha, rng)
    elif how.shards is not None:
        shares = _label_shards(labels, clients, how.shards.per_client, rng)
    elif how.column is not None:
        assert values is not None, "the column was read with the images"
        shares = _by_value(values, clients, how.column.name, rng)
    elif how.quantity_skew is not None:
        shares = _quantity_skew(len(labels), clients, how.quantity_skew.alpha, rng)
    else:
        shares = np.array_split(rng.permutation(len(labels)), clients)
    return [np.sort(share).astype(np.int64) for share in shares]


def _dirichlet(
    labels: NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    pieces: list[list[Indices]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for held, piece in zip(pieces, _cut(members, clients, alpha, rng), strict=True):
            held.append(piece)
    return _level([rng.permutation(np.concatenate(held)) for held in pieces])


def _quantity_skew(
    samples: int, clients: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    return _level(_cut(rng.permutation(samples), clients, alpha, rng))


def _cut(members: Indices, clients: int, alpha: float, rng: np.random.Generator) -> list[Indices]:
    """Consecutive pieces, their sizes by one draw of Dirichlet."""
    proportions = rng.dirichlet(np.full(clients, alpha))
    cuts = (np.cumsum(proportions)[:-1] * len(members)).astype(np.int64)
    return np.split(members, cuts)


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


def _label_shards(
    labels: NDArray[np.int64], clients: int, per_client: int, rng: np.random.Generator
) -> list[Indices]:
    count = clients * per_client
    if len(labels) < count:
        raise DataError(
            f"spec.data.partition.shards.perClient: got {per_client}; {clients} clients need "
            f"{count} shards, and there are {len(labels)} training samples; must be at most "
            f"{len(labels) // clients}"
        )
    order = rng.permutation(len(labels))  # which samples of a label share a shard is drawn, too
    shards = np.array_split(order[np.argsort(labels[order], kind="stable")], count)
    dealt = rng.permutation(count).reshape(clients, per_client)
    return [np.concatenate([shards[shard] for shard in hand]) for hand in dealt]


def _by_value(
    values: NDArray[np.int64], clients: int, name: str, rng: np.random.Generator
) -> list[Indices]:
    """Graham's rule: largest first, to the least loaded; who comes first among equals is drawn."""
    found, sizes = np.unique(values, return_counts=True)
    path = "spec.data.partition.column.name"
    if len(found) < clients:
        raise DataError(
            f"{path}: the clients' training samples hold {len(found)} values of {name!r}, and "
            f"there are {clients} clients; take fewer clients (spec.deviceClasses[].clients) or "
            "another column"
        )
    order = rng.permutation(len(found))
    order = order[np.argsort(-sizes[order], kind="stable")]
    least = [(0, place, client) for place, client in enumerate(rng.permutation(clients).tolist())]
    holder = np.empty(len(found), np.int64)
    for value in order.tolist():
        size, place, client = least[0]
        holder[value] = client
        heapq.heapreplace(least, (size + int(sizes[value]), place, client))
    smallest = min(size for size, _, _ in least)
    if smallest < MIN_SAMPLES:
        raise DataError(
            f"{path}: the values of {name!r} leave a client with {smallest} training sample, and "
            f"each needs {MIN_SAMPLES}; take fewer clients (spec.deviceClasses[].clients) or "
            "another column"
        )
    held_by = holder[np.searchsorted(found, values)]
    by_client = np.argsort(held_by, kind="stable")
    return np.split(by_client, np.cumsum(np.bincount(held_by, minlength=clients))[:-1])
