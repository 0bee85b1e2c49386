"""Section of a page: the average stock of each policy by its fill rate."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.offline.backtest_stock import PolicyCurve
from jobs.reports.figures import ACCENT, QUIET, svg
from jobs.reports.page import Row, Table, interval, number, render
from udfs.inventory.simulation import Comparison

FROM_FILL_RATE = 0.5  # no shop would run a policy below a half
STYLES = ("-", (0, (5, 3)), (0, (1, 2)), (0, (5, 2, 1, 2)))


def stock_figure(ours: PolicyCurve, peers: Sequence[PolicyCurve]) -> Figure:
    """The curves from FROM_FILL_RATE on, ours in colour; lower is better."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, peer in enumerate(peers):
        _curve(axes, peer, QUIET, 1.5, 3, STYLES[place % len(STYLES)])
    _curve(axes, ours, ACCENT, 2, 4, "-")
    axes.set_xlabel("fill rate: units sold / units wanted")
    axes.set_ylabel("average units on hand")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def _curve(
    axes: Axes, curve: PolicyCurve, colour: str, width: float, marks: float, style: str | tuple[int, tuple[int, ...]]
) -> None:
    shown = curve.fill_rate >= FROM_FILL_RATE
    label = curve.policy.replace("$", r"\$")  # a dollar sign would begin a formula
    axes.plot(
        curve.fill_rate[shown],
        curve.stock[shown],
        color=colour,
        linewidth=width,
        linestyle=style,
        marker="o",
        markersize=marks,
        label=label,
    )


def stock_section(
    ours: PolicyCurve, peers: Sequence[PolicyCurve], comparisons: Sequence[tuple[str, Comparison]], protocol: str
) -> Markup:
    """The section as HTML: the protocol, the figure, and a row per peer and fill rate."""
    cells: list[Row] = [
        [
            f"{row.fill_rate:.0%}",
            peer,
            _units(row.ours),
            _units(row.peer),
            interval(row.change, row.low, row.high, as_share=True),
        ]
        for peer, row in comparisons
    ]
    head = ["fill rate", "peer", "ours, units", "peer, units", "ours against the peer"]
    return render(
        "stock_section.html.j2",
        protocol=protocol,
        curves=svg(stock_figure(ours, peers), "average stock at each fill rate, of each policy"),
        comparisons=Table(head, cells, words=2),
    )


def _units(value: float) -> str:
    return f"{value:,.0f}" if value == value else number(value)  # NaN differs from itself
