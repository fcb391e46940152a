"""A narrower network's first weights: the parent's, with the weakest filters cut out.

Pure numpy, and the same bits everywhere: a filter's norm is the correctly rounded sum of its exact
float64 squares, so no order of summation can decide between two filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum

import numpy as np
import numpy.typing as npt

from fednas.errors import DataError
from fednas.models import Architecture
from fednas.space._space import Group, Space

__all__ = ["by_strength", "cut", "cut_filters", "derive", "strongest"]

Array = npt.NDArray[np.floating]


def derive(
    space: Space, parent: Architecture, vector: npt.NDArray[np.float32], child: Architecture
) -> npt.NDArray[np.float32]:
    """Cut a parent's weights to a child's widths.

    In every group that is narrower in the child, the filters of the largest L2 norm stay, in
    their order (Yang et al., arXiv 1804.03230, section 3.3). All norms are the parent's own, so
    the order of the groups does not matter.

    Parameters
    ----------
    space : Space
        Of the family and arguments that both have.
    parent, child : Architecture
    vector : float32 array of shape [n]
        The parent's weights.

    Returns
    -------
    float32 array of shape [m]
        The child's weights.

    Raises
    ------
    ValueError
        The child is wider, changes a group that was left out, or is another kind of network.
    DataError
        The vector is not the parent's.
    """
    return cut_filters(space, parent, vector, child)[0]


def cut_filters(
    space: Space, parent: Architecture, vector: npt.NDArray[np.float32], child: Architecture
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.intp]]]:
    """The child's weights, and which filters are left of each group that was cut; see `derive`."""
    for arch in (parent, child):
        if (arch.family, arch.args) != (space.start.family, space.start.args):
            raise ValueError(f"{arch.key()} is not in the space of {space.start.key()}")
    tensors = _split(space, parent, vector)
    for item in space.left_out:
        if parent.widths[item.choice] != child.widths[item.choice]:
            raise ValueError(f"{item.name}: was left out of the space and keeps its width")
    kept: list[tuple[Group, npt.NDArray[np.intp]]] = []
    for group in space.groups:
        before, after = parent.widths[group.choice], child.widths[group.choice]
        if after > before:
            raise ValueError(f"{group.name}: the child has {after} filters, its parent {before}")
        if after < before:
            kept.append((group, strongest(tensors, group, before, after)))
    for group, indices in kept:
        tensors = cut(tensors, group, indices)
    cut_vector = np.concatenate([np.ascontiguousarray(t).reshape(-1) for t in tensors.values()])
    return cut_vector, {group.name: indices for group, indices in kept}


def by_strength(
    space: Space, network: Architecture, vector: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """The same function, with the filters of each group in falling order of their L2 norm."""
    tensors = _split(space, network, vector)
    for group in space.groups:
        tensors = cut(tensors, group, _order(tensors, group, network.widths[group.choice]))
    return np.concatenate([np.ascontiguousarray(t).reshape(-1) for t in tensors.values()])


def strongest(
    tensors: Mapping[str, npt.NDArray[np.float32]], group: Group, width: int, keep: int
) -> npt.NDArray[np.intp]:
    """Indices of the filters with the largest norms, ascending; a tie goes to the lower index."""
    return np.sort(_order(tensors, group, width)[:keep])


def _order(
    tensors: Mapping[str, npt.NDArray[np.float32]], group: Group, width: int
) -> npt.NDArray[np.intp]:
    """Indices of a group's filters, those of the largest norm first."""
    filters = np.concatenate(
        [tensors[name].reshape(width, -1) for name in group.producers], axis=1, dtype=np.float64
    )
    norms = np.array([fsum(row) for row in np.square(filters).tolist()])
    return np.argsort(-norms, kind="stable")


def cut(
    tensors: Mapping[str, Array], group: Group, kept: Sequence[int] | npt.NDArray[np.intp]
) -> dict[str, Array]:
    """The tensors with only these filters of one group left, in this order."""
    result = dict(tensors)
    filters = np.asarray(kept)
    for part in group.slices:
        positions = filters[:, None] * part.repeat + np.arange(part.repeat)
        result[part.tensor] = result[part.tensor].take(positions.reshape(-1), axis=part.dim)
    return result


def _split(
    space: Space, arch: Architecture, vector: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float32]]:
    shapes = space.shapes(arch.widths)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    if vector.shape != (ends[-1],):
        raise DataError(f"weights: got shape {list(vector.shape)}; the parent has [{ends[-1]}]")
    parts = np.split(vector, ends[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
