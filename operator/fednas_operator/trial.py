"""``python -m fednas_operator.trial NAMESPACE NAME``: wait for the end of a search, and tell it.

What ``helm test`` runs. A search that ends well proves the store, the images, the policies and, by
the condition ``Tracked``, the tracking server. The right to get that search is all that it needs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from . import names
from .cluster import ApiError, Cluster, connect

__all__ = ["follow", "main"]

_PAUSE = 2.0
_TRACKING_SECONDS = 60.0
"""After the end: a tracking server that works takes the last records sooner."""


async def follow(
    cluster: Cluster,
    namespace: str,
    name: str,
    seconds: float,
    *,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> bool:
    """Whether a search completes in time and reaches its tracking server; tells what changes.

    Parameters
    ----------
    seconds : float
        For the search; the tracking server has a minute more.
    tell : callable
        Takes a line of text.
    """
    deadline, told = clock() + seconds, ""
    over = False
    while clock() < deadline:
        try:
            search = await cluster.get(names.KIND, namespace, name)
        except ApiError as error:
            search, line = None, str(error)
        else:
            line = f"{namespace}/{name} is not there" if search is None else _line(search)
        if line != told:
            tell(told := line)
        status = (search or {}).get("status") or {}
        conditions = {item["type"]: item for item in status.get("conditions") or ()}
        if status.get("phase") == "Failed":
            return False
        if status.get("phase") == "Complete":
            if "Tracked" not in conditions or conditions["Tracked"]["status"] == "True":
                return True
            if not over:
                over, deadline = True, clock() + _TRACKING_SECONDS
        await sleep(_PAUSE)
    tell("gave up")
    return False


def _line(search: Mapping[str, Any]) -> str:
    """Phase and every condition that asks for a person, or tells the end."""
    status = search.get("status") or {}
    parts = [str(status.get("phase", "not looked at by an operator yet"))]
    for item in status.get("conditions") or ():
        bad = {"Accepted": "False", "Tracked": "False"}.get(item["type"], "True")
        if item["type"] != "Progressing" and item["status"] == bad:
            parts.append(f"{item['type']} {item['reason']}: {item.get('message', '')}")
    return "; ".join(parts)


async def _run(arguments: argparse.Namespace) -> bool:
    cluster = await connect()
    try:
        return await follow(
            cluster, arguments.namespace, arguments.name, arguments.seconds, tell=print
        )
    finally:
        await cluster.close()


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and wait; returns the exit code."""
    parser = argparse.ArgumentParser(prog="fednas-trial", description=__doc__)
    parser.add_argument("namespace")
    parser.add_argument("name")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to wait")
    return 0 if asyncio.run(_run(parser.parse_args(argv))) else 1


if __name__ == "__main__":
    sys.exit(main())
