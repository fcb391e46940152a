"""How long a network takes on a device: the sum over its layers, read from a measured table.

As in NetAdapt (Yang et al., arXiv 1804.03230), each layer's time is looked up by its shape. A table
holds few widths; in between it is interpolated in both of them, which is exact for a time that is a
constant, plus the work of reading and writing channels, plus that of the products of both. What the
layers by themselves do not explain is one constant per network.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf

from fednas.errors import DataError
from fednas.resources._operation import Key, Operation

__all__ = ["NETWORK", "LatencyRow", "LatencyTable", "read_latencies", "write_latencies"]

NETWORK = "network"
"""The operation of the row that holds a network's constant; its shape is all zeros."""


@dataclass(frozen=True)
class LatencyRow:
    """One line of the CSV, by the names of its columns.

    Parameters
    ----------
    operation : str
        As in `Operation.name`, or ``network``.
    kernel, stride, size : int
    channels_in, channels_out : int
    milliseconds : float
        Of one forward pass of one sample.
    device, runtime : str
        Where it was measured, for people.
    """

    operation: str
    kernel: int
    stride: int
    size: int
    channels_in: int
    channels_out: int
    milliseconds: float
    device: str
    runtime: str


COLUMNS = tuple(field.name for field in fields(LatencyRow))


def write_latencies(rows: Iterable[LatencyRow]) -> str:
    """The CSV of some rows, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        cells = [getattr(row, name) for name in COLUMNS]
        writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])
    return text.getvalue()


def read_latencies(text: str, where: str) -> LatencyTable:
    """A table from its CSV.

    Parameters
    ----------
    text : str
    where : str
        What errors name first: the field and the path.

    Raises
    ------
    DataError
        It is no such table.
    """
    lines = csv.reader(io.StringIO(text))
    header = next(lines, [])
    if tuple(header) != COLUMNS:
        raise DataError(
            f"{where}: line 1: got {','.join(header)[:80]!r}; must be {','.join(COLUMNS)}"
        )
    return LatencyTable.of([_row(line, cells, where) for line, cells in enumerate(lines, 2)], where)


def _row(line: int, cells: Sequence[str], where: str) -> LatencyRow:
    if len(cells) != len(COLUMNS):
        raise DataError(f"{where}: line {line}: got {len(cells)} columns; must be {len(COLUMNS)}")
    try:
        kernel, stride, size, inputs, outputs = map(int, cells[1:6])
        time = float(cells[6])
    except ValueError as error:
        raise DataError(f"{where}: line {line}: {error}; must be numbers but for names") from None
    least = -inf if cells[0] == NETWORK else 0.0
    if not least < time < inf:
        raise DataError(
            f"{where}: line {line}: milliseconds: got {cells[6]}; must be greater than {least:g}"
        )
    return LatencyRow(cells[0], kernel, stride, size, inputs, outputs, time, *cells[7:])


@dataclass(frozen=True)
class _Surface:
    """Times over a grid of widths, both axes ascending."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    times: tuple[tuple[float, ...], ...]

    def at(self, inputs: int, outputs: int) -> float:
        """Interpolated in each width; beyond the grid its edge counts."""
        above, below, s = _between(self.inputs, inputs)
        left, right, t = _between(self.outputs, outputs)

        def along(row: int) -> float:
            return (1 - t) * self.times[row][left] + t * self.times[row][right]

        return (1 - s) * along(above) + s * along(below)


@dataclass(frozen=True)
class LatencyTable:
    """Measured times of layers over their widths, and a network's constant, in milliseconds."""

    surfaces: Mapping[Key, _Surface]
    constant: float

    @classmethod
    def of(cls, rows: Iterable[LatencyRow], where: str) -> LatencyTable:
        """From rows; `DataError` where the widths of a layer are no full grid."""
        constant = 0.0
        points: dict[Key, dict[tuple[int, int], float]] = {}
        for row in rows:
            if row.operation == NETWORK:
                constant = row.milliseconds
                continue
            key = row.operation, row.kernel, row.stride, row.size
            at = _coordinates(row.operation, row.channels_in, row.channels_out)
            points.setdefault(key, {})[at] = row.milliseconds
        return cls({key: _surface(key, times, where) for key, times in points.items()}, constant)

    def missing(self, operations: Iterable[Operation]) -> Operation | None:
        """The first layer of which the table knows nothing."""
        return next((one for one in operations if one.key not in self.surfaces), None)

    def milliseconds(self, operations: Iterable[Operation], widths: Sequence[int]) -> float:
        """One forward pass of the network of these widths.

        Raises
        ------
        KeyError
            A layer is missing.
        """
        layers = (
            self.surfaces[one.key].at(*_coordinates(one.name, *one.channels(widths)))
            for one in operations
        )
        return max(0.0, sum(layers) + self.constant)


def _coordinates(operation: str, inputs: int, outputs: int) -> tuple[int, int]:
    """Depthwise layers have one width."""
    return (0 if operation.startswith("depthwise") else inputs), outputs


def _surface(key: Key, times: Mapping[tuple[int, int], float], where: str) -> _Surface:
    inputs, outputs = (sorted({at[axis] for at in times}) for axis in (0, 1))
    for at in ((i, o) for i in inputs for o in outputs):
        if at not in times:
            name, kernel, stride, size = key
            raise DataError(
                f"{where}: {name} of kernel {kernel}, stride {stride} and size {size}: has no row "
                f"of {at[0]} to {at[1]} channels; must have one for each pair of its widths"
            )
    grid = tuple(tuple(times[i, o] for o in outputs) for i in inputs)
    return _Surface(tuple(inputs), tuple(outputs), grid)


def _between(axis: Sequence[int], value: int) -> tuple[int, int, float]:
    """Neighbours on an axis, and how far it is from the first to the second."""
    right = bisect_right(axis, value)
    if right == 0:
        return 0, 0, 0.0
    if right == len(axis):
        return right - 1, right - 1, 0.0
    left = right - 1
    return left, right, (value - axis[left]) / (axis[right] - axis[left])
