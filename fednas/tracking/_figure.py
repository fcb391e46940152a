"""The one figure of a search: accuracy against what the target counts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

from fednas.space import resource

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fednas.search import Rung, View
    from fednas.spec import FederatedSearch

__all__ = ["figure"]

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey.
_LADDER, _BUDGET, _DROPPED, _SURVIVOR = "#0072B2", "#D55E00", "#8C8C8C", "#56B4E9"
_BASELINE = "#009E73"
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "svg.hashsalt": "fednas",
}


def figure(view: View, search: FederatedSearch, *, format: Literal["png", "svg"] = "png") -> bytes:
    """Draw a search: its candidates, its ladder and what each device class takes from it.

    Parameters
    ----------
    view : View
        With at least one rung.
    search : FederatedSearch
        For the budgets of its device classes.
    format : {"png", "svg"}
        A PNG is 1440 x 960 pixels.

    Returns
    -------
    bytes
        The file. Equal searches give equal bytes under one version of matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        drawing = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = drawing.add_subplot()
        unit, name = resource(view.target.resource).unit(view.full)
        _frame(axes, view, search, unit, name)
        _draw_candidates(axes, view, unit)
        _draw_baseline(axes, view, unit)
        _draw_ladder(axes, view, unit)
        _draw_budgets(axes, view, search, unit)
        axes.set_title(_title(view, search), loc="left", pad=10)
        drawing.legend(loc="outside lower center", ncols=3, frameon=False)
        buffer = io.BytesIO()
        metadata = {"Date": None} if format == "svg" else {"Software": None}
        drawing.savefig(buffer, format=format, dpi=200, metadata=metadata)
    return buffer.getvalue()


def _title(view: View, search: FederatedSearch) -> str:
    ladder = view.ladder
    label = resource(view.target.resource).label
    text = f"{search.metadata.name}: {ladder[0].share:.2f}x to {ladder[-1].share:.2f}x {label}"
    factor = view.ledger.factors.get("total")
    if factor is None:
        return text
    return f"{text}, clients paid {factor:.{0 if factor >= 10 else 1}f}x less than naive"


def _frame(axes: Axes, view: View, search: FederatedSearch, unit: float, name: str) -> None:
    """Axes and their limits, which hold every candidate's cost and every budget."""
    full = view.full / unit
    shown = [rung.cost / unit for rung in view.ladder]
    shown += [row["cost"] / unit for row in view.decisions]
    shown += [share * full for share in _budgets(view, search)]
    margin = 0.06 * (full - min(shown) or full)
    axes.set_xlim(min(shown) - margin, full + margin)
    low, high = _heights(view)
    axes.set_ylim(low, high)
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 100)])
    axes.set_xlabel(f"{resource(view.target.resource).axis} ({name})")
    axes.set_ylabel("accuracy (%)")
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    functions: Any = (lambda cost: cost / full, lambda share: share * full)
    share = axes.secondary_xaxis("top", functions=functions)
    share.set_xlabel("share of the start")
    share.xaxis.set_major_formatter(lambda x, _: f"{x:.2f}x")


def _heights(view: View) -> tuple[float, float]:
    """Limits of accuracy in per cent: the ladder in the upper part, room for most candidates."""
    ladder = [
        100 * accuracy
        for rung in view.ladder
        for accuracy in (rung.accuracy, rung.validation_accuracy, rung.baseline_accuracy)
        if accuracy is not None
    ]
    others = [100 * row["accuracy"] for row in view.decisions]
    top, bottom = max([*ladder, *others]), min(ladder)
    room = max(2.0, top - bottom)
    low = max(bottom - room, min([bottom, *others]))
    height = max(1.0, top - low)
    return max(0.0, low - 0.08 * height), top + 0.16 * height  # the classes' names stand on top


def _draw_candidates(axes: Axes, view: View, unit: float) -> None:
    """Dropped ones faint; below the frame a triangle on its lower edge."""
    low, high = axes.get_ylim()
    edge = low + 0.02 * (high - low)
    kinds: tuple[tuple[set[str], str, float, str], ...] = (
        ({"screened", "dropped", "failed"}, _DROPPED, 0.45, "dropped candidates"),
        ({"kept"}, _SURVIVOR, 0.8, "candidates that lost"),
    )
    for outcomes, colour, alpha, label in kinds:
        rows = [row for row in view.decisions if row["outcome"] in outcomes]
        inside = [row for row in rows if 100 * row["accuracy"] >= edge]
        style: dict[str, Any] = {"color": colour, "alpha": alpha, "linewidths": 0, "zorder": 2}
        if inside:
            axes.scatter(
                [row["cost"] / unit for row in inside],
                [100 * row["accuracy"] for row in inside],
                s=18,
                label=f"{label} (validation)",
                **style,
            )
        below = [row["cost"] / unit for row in rows if 100 * row["accuracy"] < edge]
        if below:
            axes.scatter(
                below, [edge] * len(below), s=18, marker="v", label="below the frame", **style
            )


def _draw_baseline(axes: Axes, view: View, unit: float) -> None:
    """A thin line: the start thinned alike, which costs nothing."""
    first = view.ladder[0]
    points = [(first.cost, first.searched_accuracy)]
    for rung, added in zip(view.ladder, view.added, strict=True):
        if added.baseline is not None and rung.baseline_accuracy is not None:
            points.append((added.baseline.costs[rung.resource], rung.baseline_accuracy))
    if len(points) > 1:
        axes.plot(
            [cost / unit for cost, _ in points],
            [100 * accuracy for _, accuracy in points],
            color=_BASELINE,
            linewidth=0.9,
            label="thinned alike, no search",
            zorder=3,
        )


def _draw_ladder(axes: Axes, view: View, unit: float) -> None:
    assert view.start is not None
    costs = [rung.cost / unit for rung in view.ladder]
    tested = "test" if view.start.tested else "validation"
    trained = [rung for rung in view.ladder if rung.trained]
    if trained:
        axes.scatter(
            [rung.cost / unit for rung in trained],
            [100 * rung.accuracy for rung in trained],
            color=_LADDER,
            marker="^",
            s=34,
            label=f"trained after the search ({tested})",
            zorder=5,
        )
    axes.plot(
        costs,
        [100 * rung.searched_accuracy for rung in view.ladder],
        color=_LADDER,
        linewidth=1.6,
        marker="o",
        markersize=4.5,
        label=f"ladder ({tested})",
        zorder=4,
    )
    if tested == "test":
        axes.plot(
            costs,
            [100 * rung.validation_accuracy for rung in view.searched],
            color=_LADDER,
            alpha=0.45,
            linewidth=0.9,
            linestyle=(0, (4, 2)),
            label="ladder (validation)",
            zorder=3,
        )
    axes.annotate(
        "start", (costs[0], 100 * view.ladder[0].searched_accuracy), **_beside(-6, 7, "right")
    )


def _draw_budgets(axes: Axes, view: View, search: FederatedSearch, unit: float) -> None:
    """A vertical line for each budget, with the classes that have it; a ring around their rung."""
    rungs = view.selected(search)
    full = view.full / unit
    left, right = axes.get_xlim()
    for share, classes in sorted(_budgets(view, search).items()):
        near_edge = share * full > right - 0.2 * (right - left)
        axes.axvline(share * full, color=_BUDGET, linewidth=0.9, linestyle=(0, (1, 1.5)), zorder=1)
        rung = rungs[classes[0]]
        axes.annotate(
            _caption(classes, rung),
            (share * full, 0.985),
            xycoords=("data", "axes fraction"),
            **_beside(-4 if near_edge else 4, 0, "right" if near_edge else "left"),
            va="top",
            color=_BUDGET,
        )
        if rung is not None:
            axes.scatter(
                [rung.cost / unit],
                [100 * rung.accuracy],
                s=110,
                facecolors="none",
                edgecolors=_BUDGET,
                linewidths=1.4,
                zorder=5,
            )


def _budgets(view: View, search: FederatedSearch) -> dict[float, list[str]]:
    """Share of the start -> the classes whose budget it is, where both count the same."""
    names: dict[float, list[str]] = {}
    for device in search.spec.device_classes:
        budget = device.bound
        if budget is not None and budget.resource == view.target.resource:
            names.setdefault(min(1.0, budget.share_of(view.full)), []).append(device.name)
    return names


def _caption(classes: list[str], rung: Rung | None) -> str:
    who = ", ".join(classes[:3]) + (" ..." if len(classes) > 3 else "")
    if rung is None:
        return f"{who}\nnothing fits yet"
    return f"{who}\nrung {rung.rung}, {100 * rung.accuracy:.1f} %"


def _beside(dx: float, dy: float, ha: str) -> dict[str, Any]:
    return {"xytext": (dx, dy), "textcoords": "offset points", "ha": ha, "fontsize": 8}
