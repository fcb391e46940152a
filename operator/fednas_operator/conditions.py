"""Conditions as the API has them, and the three in which tools that know no search look.

Flux, and whatever else reads kstatus, take Ready, Reconciling and Stalled of any resource: it is in
progress, it is as its spec wants it, or somebody has to mend it. As for a Job, what its spec wants
is that the search has started; the last two are shown only while they are true.
See https://pkg.go.dev/sigs.k8s.io/cli-utils/pkg/kstatus
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .world import Object

__all__ = ["Condition", "dated", "stamp", "summary"]

_MESSAGE_BYTES = 512


@dataclass(frozen=True)
class Condition:
    """One condition, without what the API adds: times and generation."""

    type: str
    holds: bool
    reason: str
    message: str


def summary(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Ready, and Reconciling or Stalled if it is so, from the others."""
    found = {(condition.type, condition.holds): condition for condition in conditions}

    def first(*kinds: tuple[str, bool]) -> Condition | None:
        return next((found[kind] for kind in kinds if kind in found), None)

    if stuck := first(("Failed", True), ("Accepted", False)):
        yield Condition("Ready", False, stuck.reason, stuck.message)
        yield Condition("Stalled", True, stuck.reason, stuck.message)
        return
    way = [condition for condition in conditions if condition.reason in _ON_THE_WAY]
    if waits := first(("Degraded", True)) or next(iter(way), None):
        yield Condition("Ready", False, waits.reason, waits.message)
        yield Condition("Reconciling", True, waits.reason, waits.message)
        return
    settled = first(("Complete", True), ("Suspended", True), ("Progressing", True))
    assert settled is not None, "a search that was accepted is over, suspended or progresses"
    yield Condition("Ready", True, settled.reason, settled.message)


_ON_THE_WAY = {"Starting", "Suspending"}


def dated(before: Object | None, condition: Condition, now: datetime) -> dict[str, Any]:
    """As the API has it; the time of the last transition is carried over."""
    value = "True" if condition.holds else "False"
    same = before is not None and before["status"] == value
    return {
        "type": condition.type,
        "status": value,
        "reason": condition.reason,
        "message": _cut(condition.message),
        "lastTransitionTime": before["lastTransitionTime"]
        if same and before is not None
        else stamp(now),
    }


def stamp(now: datetime) -> str:
    """A time as the API has it: UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(message: str) -> str:
    data = message.encode()
    if len(data) <= _MESSAGE_BYTES:
        return message
    return data[: _MESSAGE_BYTES - 3].decode(errors="ignore") + "..."
