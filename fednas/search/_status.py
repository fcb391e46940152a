"""A view as the resource's status: what kubectl, the operator and ``/v1/status`` show."""

from __future__ import annotations

from datetime import UTC, datetime

from fednas.search._view import View
from fednas.spec import (
    BestRung,
    CandidateCounts,
    ClientCounts,
    Cost,
    Display,
    FederatedSearch,
    LadderRung,
    Phase,
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
    generated = [r.value for key, r in view.records.items() if key.endswith("/generated")]
    iteration = max((value["iteration"] for value in generated), default=0)
    total = sum(device.clients for device in search.spec.device_classes)
    share = view.ladder[-1].share if view.ladder else 1.0
    target = search.spec.target.macs.share
    net_adapt = search.spec.strategy.net_adapt
    assert net_adapt is not None, "the only member of this union"
    most = net_adapt.max_iterations
    factors = view.ledger.factors
    cheaper = f"{factors['total']:.1f}" if factors else None
    best = max(view.ladder, key=lambda rung: rung.accuracy, default=None)
    cost = view.ledger.search
    return SearchStatus(
        phase=_phase(view),
        start_time=_time(view.records["000-start"].time) if view.start else None,
        iteration=iteration,
        rounds=sum(key.endswith("-closed") for key in view.records),
        candidates=_candidates(view, iteration),
        clients=ClientCounts(available=available, total=total),
        result_uri=result_uri,
        best=best
        and BestRung(rung=best.rung, accuracy=f"{best.accuracy:.4f}", share=f"{best.share:.2f}"),
        ladder=tuple(
            LadderRung(
                rung=rung.rung,
                accuracy=f"{rung.accuracy:.4f}",
                macs=rung.macs,
                params=rung.params,
                sha256=rung.sha256,
            )
            for rung in view.ladder[-LADDER:]
        ),
        selected=tuple(
            SelectedRung(device_class=name, rung=rung.rung)
            for name, rung in view.selected(search).items()
            if rung is not None
        ),
        cost=Cost(
            client_macs=cost.macs // total,
            client_bytes=(cost.bytes_down + cost.bytes_up) // total,
            times_cheaper_than_naive=cheaper,
        ),
        display=Display(
            iteration=f"{iteration}/{most}",
            share=f"{share:.2f}>{target:.2f}",
            clients=f"{available}/{total}",
            cheaper=cheaper and f"{cheaper}x",
        ),
        tracking_run_id=tracking_run_id,
    )


def _phase(view: View) -> Phase:
    if view.end is not None:
        return "Failed" if view.end["failed"] else "Complete"
    if not view.records:
        return "Pending"
    return "Searching" if "001/generated" in view.records else "Initializing"


def _candidates(view: View, iteration: int) -> CandidateCounts:
    fates = [row["outcome"] for row in view.decisions]
    active = 0
    if view.end is None and f"{iteration:03}/generated" in view.records:
        dropped = view.records.get(f"{iteration:03}/dropped")
        if dropped is None:
            active = len(view.records[f"{iteration:03}/generated"].value["candidates"])
        elif f"{iteration:03}/winner" not in view.records:
            active = sum(row["kept"] for row in dropped.value["ranking"])
    return CandidateCounts(
        active=active, dropped=fates.count("dropped"), failed=fates.count("failed")
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
