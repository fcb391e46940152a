"""The latency tables of the device classes: read once, then kept with the journal.

Whatever becomes of the file, a search goes on with the table that it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fednas.errors import DataError
from fednas.resources import LatencyTable, Operation, read_latencies
from fednas.search._entries import Started
from fednas.spec import FederatedSearch
from fednas.store import Blobs

__all__ = ["keep_tables", "read_tables"]


def keep_tables(
    search: FederatedSearch,
    start: Started | None,
    tables: Blobs,
    read: Callable[[str, str], bytes],
) -> dict[str, str]:
    """Device class -> sha256 of its table, which then lies in ``tables``.

    Parameters
    ----------
    search : FederatedSearch
    start : Started or None
        Of a search that is continued: nothing is read from outside.
    tables : Blobs
    read : callable
        The field, and what it says -> the bytes that lie there.
    """
    if start is not None:
        return start.tables or {}
    return {
        device.name: tables.put(read(_field(index), device.latency_table), durable=True)
        for index, device in enumerate(search.spec.device_classes)
        if device.latency_table is not None
    }


def read_tables(
    search: FederatedSearch,
    kept: Mapping[str, str],
    tables: Blobs,
    operations: Iterable[Operation],
) -> dict[str, LatencyTable]:
    """The table of each device class that has one.

    Raises
    ------
    DataError
        It is none, or not of this network.
    """
    found = {}
    for index, device in enumerate(search.spec.device_classes):
        if device.name not in kept:
            continue
        where = f"{_field(index)}: {device.latency_table}"
        try:
            text = tables.get(kept[device.name]).decode()
        except UnicodeDecodeError:
            raise DataError(f"{where}: must be a CSV file in UTF-8") from None
        table = read_latencies(text, where)
        missing = table.missing(operations)
        if missing is not None:
            raise DataError(
                f"{where}: has no {missing.name} of kernel {missing.kernel}, stride "
                f"{missing.stride} and size {missing.size}; must be of this network: fednas "
                "measure-latency writes one"
            )
        found[device.name] = table
    return found


def _field(index: int) -> str:
    return f"spec.deviceClasses[{index}].latencyTable"
