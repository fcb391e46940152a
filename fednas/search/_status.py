"""A view as the resource's status: what kubectl, the operator and ``/v1/status`` show."""

from __future__ import annotations

from datetime import UTC, datetime

from fednas.errors import BadInput
from fednas.federation import FINAL
from fednas.search._strategies import strategy_of
from fednas.search._view import View
from fednas.spec import (
    BestRung,
    CandidateCounts,
    ClientCounts,
    CostStatus,
    Display,
    FederatedSearch,
    Phase,
    PrivacyStatus,
    RungStatus,
    SearchStatus,
    SelectedRung,
)

__all__ = ["status_of"]

LADDER = 32
"""So many rungs, the last ones, are in the status."""


def status_of(
    view: View,
    search: FederatedSearch,
    *,
    available: int = 0,
    result_uri: str | None = None,
    tracking_run_id: str | None = None,
) -> SearchStatus:
    """The status, without what only the operator knows (conditions, pods).

    Parameters
    ----------
    available : int
        Clients that a registered pod serves.
    """
    with view.lock:
        total = sum(device.clients for device in search.spec.device_classes)
        share = view.ladder[-1].share if view.ladder else 1.0
        bound = search.spec.target.bound
        target = bound.share_of(view.full) if view.start else bound.share
        factors = view.ledger.factors
        cheaper = f"{factors['total']:.1f}" if factors else None
        newest = view.ladder[-1] if view.ladder else None
        cost = view.ledger.total
        return SearchStatus(
            phase=_phase(view),
            start_time=_time(view.began) if view.start else None,
            iteration=view.iteration,
            rounds=view.rounds_closed,
            candidates=CandidateCounts(
                active=view.active,
                dropped=view.fates["dropped"] + view.fates["screened"],
                failed=view.fates["failed"],
            ),
            clients=ClientCounts(available=available, total=total),
            result_uri=result_uri,
            best=newest
            and BestRung(
                rung=newest.rung, accuracy=f"{newest.accuracy:.4f}", share=f"{newest.share:.2f}"
            ),
            ladder=tuple(
                RungStatus(
                    rung=rung.rung,
                    accuracy=f"{rung.accuracy:.4f}",
                    macs=rung.macs,
                    params=rung.params,
                    share=f"{rung.share:.2f}",
                    sha256=rung.sha256,
                )
                for rung in view.ladder[-LADDER:]
            ),
            selected=tuple(
                SelectedRung(device_class=name, rung=rung.rung)
                for name, rung in view.selected(search).items()
                if rung is not None
            ),
            cost=CostStatus(
                client_macs=cost.macs // total,
                client_bytes=(cost.bytes_down + cost.bytes_up) // total,
                times_cheaper_than_naive=cheaper,
            ),
            display=Display(
                iteration=_iteration(view, search),
                target=bound.resource,
                share=f"{share:.2f}>{target:.2f}" if target else f"{share:.2f}",
                clients=f"{available}/{total}",
                cheaper=cheaper and f"{cheaper}x",
            ),
            tracking_run_id=tracking_run_id,
            privacy=_privacy(view, search),
        )


def _privacy(view: View, search: FederatedSearch) -> PrivacyStatus | None:
    promise = search.spec.privacy.client_level
    if promise is None:
        return None
    return PrivacyStatus(
        epsilon=f"{view.epsilon or 0:.4g}",
        delta=f"{promise.delta:g}",
        budget=f"{promise.epsilon:g}",
    )


def _iteration(view: View, search: FederatedSearch) -> str:
    """Of at most how many; without those where a strategy of one's own cannot be imported here."""
    try:
        return f"{view.iteration}/{strategy_of(search).iterations}"
    except BadInput:
        return str(view.iteration)


def _phase(view: View) -> Phase:
    if view.end is not None:
        return "Failed" if view.end.failed else "Complete"
    if not view.entries:
        return "Pending"
    if view.phase == FINAL:
        return "FinalTraining"
    return "Searching" if view.iteration else "Initializing"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
