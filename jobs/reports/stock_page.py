"""One result is a part of a page: what each stock policy holds on average for the share of demand that it fills."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from jobs.offline.backtest_stock import PolicyCurve
from jobs.reports.page import ACCENT, QUIET, interval, number, svg, table, text
from udfs.inventory.simulation import Comparison


def stock_figure(ours: PolicyCurve, peers: Sequence[PolicyCurve], from_fill_rate: float = 0.5) -> Figure:
    """The curves from a fill rate on, ours in colour; lower is better. Below a half no shop would run them."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    styles = ("-", (0, (5, 3)), (0, (1, 2)), (0, (5, 2, 1, 2)))
    for place, peer in enumerate(peers):
        shown = peer.fill_rate >= from_fill_rate
        axes.plot(
            peer.fill_rate[shown],
            peer.stock[shown],
            color=QUIET,
            linewidth=1.5,
            linestyle=styles[place % len(styles)],
            marker="o",
            markersize=3,
            label=peer.policy.replace("$", r"\$"),
        )
    shown = ours.fill_rate >= from_fill_rate
    axes.plot(
        ours.fill_rate[shown],
        ours.stock[shown],
        color=ACCENT,
        linewidth=2,
        marker="o",
        markersize=4,
        label=ours.policy.replace("$", r"\$"),
    )
    axes.set_xlabel("fill rate: units sold / units wanted")
    axes.set_ylabel("average units on hand")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def stock_section(
    ours: PolicyCurve, peers: Sequence[PolicyCurve], comparisons: Sequence[tuple[str, Comparison]], protocol: str
) -> str:
    """The section of a page: how it was measured, the figure, and a row per peer and fill rate. HTML."""
    cells = [
        [
            f"{row.fill_rate:.0%}",
            text(peer),
            _units(row.ours),
            _units(row.peer),
            interval(row.change, row.low, row.high, as_share=True),
        ]
        for peer, row in comparisons
    ]
    head = ["fill rate", "peer", "ours, units", "peer, units", "ours against the peer"]
    figure = svg(stock_figure(ours, peers), "average stock at each fill rate, of each policy")
    return (
        f"<section><h2>Stock at the same fill rate</h2><p>{text(protocol)}</p>{figure}"
        f"{table(head, cells, words=2)}"
        '<p class="quiet">Intervals are 95 %, by paired bootstrap over items; n/a: the policy never reaches that fill '
        "rate.</p></section>"
    )


def _units(value: float) -> str:
    return f"{value:,.0f}" if value == value else number(value)  # NaN differs from itself
