"""How long a search may run, and how long it stays once it is over: as for a Job of batch/v1.

Its coordinator stays until MLflow has every record, for a day at most.

The time of a search runs from its start or, if it was suspended, from when it was last resumed: the
API's own record of that is when the condition Suspended became False.
See https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .world import Object, World

__all__ = ["deadline", "dismissed", "expiry", "given_up", "overrun", "until_due"]

_DELIVERY = timedelta(minutes=10)
"""After its end a search is not deleted before MLflow has every record, but for so long only."""
_PATIENCE = timedelta(days=1)
"""So long after the end its coordinator waits for MLflow to take them."""


def deadline(world: World) -> datetime | None:
    """When the search will have run for too long; None: never, or not while it is suspended."""
    seconds, started = world.spec.get("activeDeadlineSeconds"), world.status.get("startTime")
    paused = world.suspended or world.holds("Suspended")  # or about to be resumed by this pass
    if seconds is None or started is None or paused or world.terminal:
        return None
    times = [datetime.fromisoformat(started)]
    if (resumed := world.condition("Suspended")) is not None:
        times.append(_when(resumed))
    return max(times) + timedelta(seconds=seconds)


def overrun(world: World) -> bool:
    """Whether it has run for too long, and has not ended by itself meanwhile."""
    due = deadline(world)
    ended = bool((world.report or {}).get("over"))
    return due is not None and world.now >= due and not ended


def given_up(world: World) -> bool:
    """Whether MLflow has been waited for long enough after the end, and lacks records still."""
    due = _patience(world)
    return due is not None and world.now >= due


def dismissed(world: World) -> bool:
    """Whether a search that is over needs its coordinator no more: delivered, or given up."""
    return world.holds("Tracked") or world.cut_short or given_up(world)


def expiry(world: World) -> datetime | None:
    """When the resource is to be deleted; None: never, or not before it is over."""
    seconds, end = world.spec.get("ttlSecondsAfterFinished"), _end(world)
    if seconds is None or end is None:
        return None
    wait = timedelta(seconds=seconds)
    delivered = world.holds("Tracked") or world.cut_short
    return end + (wait if delivered else max(wait, _DELIVERY))


def until_due(world: World) -> float | None:
    """Seconds until the next of these, at least 0; None: there is none."""
    patience = None if given_up(world) else _patience(world)
    due = [time for time in (deadline(world), expiry(world), patience) if time is not None]
    return max(0.0, (min(due) - world.now).total_seconds()) if due else None


def _patience(world: World) -> datetime | None:
    """When its coordinator has waited for MLflow long enough; None: it does not."""
    end = _end(world)
    return None if end is None or world.holds("Tracked") else end + _PATIENCE


def _end(world: World) -> datetime | None:
    """When the search was over; None: it is not."""
    ends = [_when(end) for end in map(world.condition, ("Complete", "Failed")) if _holds(end)]
    return min(ends, default=None)


def _holds(condition: Object | None) -> bool:
    return condition is not None and condition["status"] == "True"


def _when(condition: Object | None) -> datetime:
    assert condition is not None
    return datetime.fromisoformat(condition["lastTransitionTime"])
