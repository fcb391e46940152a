"""What happened to a search, as Kubernetes Events: one for each transition of a condition.

They are for people who read `kubectl describe`. Nothing depends on them, so one that cannot be
posted is dropped: the conditions say the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from . import names
from .cluster import ApiError, Cluster
from .world import Object

__all__ = ["Note", "of_children", "post", "transitions"]

_log = logging.getLogger(__name__)

_SECONDS = 1.0
"""For all events of a pass: a slow API server must not hold up the pass for them."""
_NOTE_BYTES = 1024
_INSTANCE = socket.gethostname()[:128] or "operator"


@dataclass(frozen=True)
class Note:
    """One event.

    Parameters
    ----------
    reason : str
        In CamelCase; mostly that of a condition.
    text : str
    action : str
        What the operator did, or was about.
    warning : bool
        Whether somebody should look.
    """

    reason: str
    text: str
    action: str
    warning: bool = False


def transitions(old: Object, new: Object) -> Iterator[Note]:
    """What changed between two statuses of a search, in the order of its life."""
    before, after = _conditions(old), _conditions(new)

    def became(kind: str, value: str, *, anew: bool = False) -> Object | None:
        """The condition if it came to this value, or with ``anew`` to another reason."""
        was, found = before.get(kind, {}), after.get(kind)
        if found is None or found["status"] != value:
            return None
        same = was.get("status") == value and not (anew and was["reason"] != found["reason"])
        return None if same else found

    over = any(after.get(kind, {}).get("status") == "True" for kind in ("Complete", "Failed"))
    if found := became("Accepted", "True"):
        yield Note(found["reason"], found["message"], "Accept")
    if found := became("Accepted", "False", anew=True):
        yield Note(found["reason"], found["message"], "Accept", warning=True)
    if "startTime" in new and "startTime" not in old:
        yield Note("Started", "its spec is fixed, and its children are made", "Start")
    if not over and (found := became("Degraded", "True", anew=True)):
        yield Note(found["reason"], found["message"], "Follow", warning=True)
    if not over and "Degraded" in before and became("Degraded", "False"):
        was = before["Degraded"]["reason"]
        yield Note("Recovered", f"{was} is over, and nothing else is amiss", "Follow")
    if found := became("Suspended", "True"):
        yield Note("Suspended", found["message"], "Suspend")
    if not over and "Suspended" in before and became("Suspended", "False"):
        yield Note("Resumed", "spec.suspend is false: it goes on", "Resume")
    if found := became("Complete", "True"):
        yield Note(found["reason"], found["message"] or "the search is over", "End")
    if found := became("Failed", "True"):
        yield Note(found["reason"], found["message"] or "the search is over", "End", warning=True)
    if found := became("Tracked", "True"):
        yield Note(found["reason"], found["message"], "End")


def of_children(
    deleted: Sequence[str],
    restored: Sequence[str],
    repaired: Sequence[str],
    *,
    adjusted: bool = False,
) -> Iterator[Note]:
    """What was done to children that nobody asked for by editing the search.

    Parameters
    ----------
    deleted, restored, repaired : sequence of str
        ``KIND NAME`` of those that went at the end, of those that somebody else had deleted, and of
        those that somebody else had changed.
    adjusted : bool
        Whether they follow a spec that was changed while the search was suspended.
    """
    if adjusted:
        yield Note("Adjusted", "the changed spec is taken up, and its children follow", "Update")
    if deleted:
        yield Note("Deleted", f"at the search's end: {', '.join(deleted)}", "Delete")
    if restored:
        yield Note(
            "Restored", f"was missing, and is made again: {', '.join(restored)}", "Create", True
        )
    if repaired:
        yield Note("Repaired", f"was changed, and is put right: {', '.join(repaired)}", "Update")


async def post(cluster: Cluster, search: Object, notes: Iterable[Note], now: datetime) -> None:
    """Post events about a search; whatever goes wrong with them is no concern of the pass."""
    manifests = [
        _manifest(search, note, now + timedelta(microseconds=i))  # in this order
        for i, note in enumerate(notes)
    ]
    try:
        async with asyncio.timeout(_SECONDS):
            for manifest in manifests:
                await cluster.create(manifest)
    except (ApiError, TimeoutError) as error:
        meta = search["metadata"]
        _log.info("%s/%s: no event: %s", meta["namespace"], meta["name"], error or "too slow")


def _conditions(status: Object) -> dict[str, Object]:
    return {condition["type"]: condition for condition in status.get("conditions") or ()}


def _manifest(search: Object, note: Note, now: datetime) -> dict[str, object]:
    meta, when = search["metadata"], now.astimezone(UTC).isoformat(timespec="microseconds")
    key = "/".join((meta["uid"], when, note.action, note.reason))
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{meta['name']}.{hashlib.sha256(key.encode()).hexdigest()[:16]}",
            "namespace": meta["namespace"],
        },
        "regarding": {
            "apiVersion": f"{names.GROUP}/{names.VERSION}",
            "kind": names.KIND,
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "action": note.action,
        "note": note.text.encode()[:_NOTE_BYTES].decode(errors="ignore"),
        "eventTime": when.replace("+00:00", "Z"),
        "reportingController": "fednas.dev/operator",
        "reportingInstance": _INSTANCE,
    }
