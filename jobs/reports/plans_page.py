"""Page of a backtest of forecasts, stock actions and audiences, in one self-contained file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from jobs.offline.backtest_stock import PROTOCOL, StockBacktest
from jobs.reports.figures import ACCENT, QUIET, reliability, svg
from jobs.reports.page import Cell, Row, Table, interval, render
from jobs.reports.stock_page import stock_section
from udfs.audiences import backtest as audience_backtest
from udfs.audiences.backtest import Backtest as AudienceBacktest
from udfs.days import date_of
from udfs.demand import backtest as demand_backtest
from udfs.demand.backtest import Backtest as DemandBacktest

LEVELS = {
    demand_backtest.ITEM: "an item's week, all locations",
    demand_backtest.ITEM_LISTED: "an item's week, the table's pairs summed",
    demand_backtest.PAIR: "a pair's week",
}
DEMAND_METRICS = (
    "wape",
    "wape_mean",
    "pinball",
    "covered",
    "covered_pit",
    "covered_28d",
    "above_28d",
    "gain_wape",
    "gain_pinball",
)
MADE_UP = " SIMULATED: the snapshot, and so the lead times, are made up."


@dataclass(frozen=True)
class Plans:
    """All that the page shows; stock and audiences where the shop has them.

    vectors_of: the date of the vectors that audiences were judged with, None for none; simulated: stock levels are.
    """

    shop: str
    run_date: dt.date
    demand: DemandBacktest
    stock: StockBacktest | None
    audiences: AudienceBacktest | None
    vectors_of: dt.date | None = None
    simulated: bool = False


def plans_page(plans: Plans) -> str:
    """The page as HTML."""
    stock = Markup()
    if plans.stock:
        protocol = PROTOCOL + MADE_UP * plans.simulated
        stock = stock_section(plans.stock.ours, plans.stock.peers, plans.stock.comparisons, protocol)
    return render(
        "plans_page.html.j2",
        title=f"Backtest of {plans.shop}, {plans.run_date}",
        heading=f"{plans.shop}: what its plans were worth, by what followed up to {plans.run_date}",
        demand=_demand(plans.demand),
        least_weeks=demand_backtest.LEAST_WEEKS,
        stock=stock,
        audiences=_audiences(plans.audiences, plans.vectors_of) if plans.audiences else None,
    )


def _demand(backtest: DemandBacktest) -> dict[str, Any]:
    """A table per level, for all dates together; the shop's weeks as sold and as forecast."""
    cuts = sorted({row.cut for row in backtest.rows} - {demand_backtest.ALL_CUTS})
    return {
        "days": ", ".join(str(date_of(cut)) for cut in cuts),
        "outside": ", ".join(f"{share:.1%}" for share in backtest.outside),
        "levels": list(_levels(backtest, cuts)),
    }


def _levels(backtest: DemandBacktest, cuts: Sequence[int]) -> Iterator[dict[str, Any]]:
    for level, words in LEVELS.items():
        rows = [row for row in backtest.rows if row.level == level and row.cut == demand_backtest.ALL_CUTS]
        by_name = {(row.contender, row.metric): row for row in rows}
        metrics = [metric for metric in DEMAND_METRICS if any(row.metric == metric for row in rows)]
        contenders = list(dict.fromkeys(row.contender for row in rows))
        cells: list[Row] = [[name, *(_cell(by_name.get((name, metric))) for metric in metrics)] for name in contenders]
        marks = ["leader" if name == demand_backtest.OURS else "" for name in contenders]
        weeks = Markup()
        if level in backtest.units:
            weeks = svg(_weeks(backtest.units[level], backtest.expected[level], cuts), f"units a week: {words}")
        yield {"words": words, "table": Table(["contender", *metrics], cells, marks), "weeks": weeks}


def _cell(row: demand_backtest.Row | audience_backtest.Measure | None) -> Cell:
    """The figure with its interval; nothing where there is none."""
    return Cell("") if row is None or np.isnan(row.value) else interval(row.value, row.low, row.high)


def _weeks(units: np.ndarray, expected: np.ndarray, cuts: Sequence[int]) -> Figure:
    """Units sold and expected of each date's four weeks."""
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    axes = figure.add_subplot()
    for place, cut in enumerate(sorted(cuts, reverse=True)):
        weeks = [cut + 7 * week for week in range(1, 5)]
        axes.plot(weeks, units[place], color=QUIET, marker="o", markersize=4, label="sold" if not place else None)
        axes.plot(
            weeks, expected[place], color=ACCENT, marker="o", markersize=4, label="expected" if not place else None
        )
    axes.set_xticks([cut + 14 for cut in cuts], [str(date_of(cut)) for cut in cuts])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("units a week")
    axes.legend(frameon=False)
    return figure


def _audiences(backtest: AudienceBacktest, vectors_of: dt.date | None) -> dict[str, Any]:
    """A table of figures per slice, a table of leads, and the reliability of our probabilities."""
    of_all = {(row.contender, row.metric): row for row in backtest.measures if row.slice == audience_backtest.ALL}
    metrics = [f"{audience_backtest.LEAD}{metric}" for metric in audience_backtest.METRICS]
    peers = [
        peer for peer in dict.fromkeys(name for name, _ in of_all) if (peer, f"{audience_backtest.LEAD}auc") in of_all
    ]
    leads: list[Row] = [[peer, *(_cell(of_all.get((peer, metric))) for metric in metrics)] for peer in peers]
    return {
        "campaigns": ", ".join(backtest.campaigns),
        "vectors_of": vectors_of,
        "slices": [_slice(backtest, name) for name in dict.fromkeys(row.slice for row in backtest.measures)],
        "leads": Table(["over", *metrics], leads),
        "reliability": reliability("our probabilities beside what came of them", backtest.reliability),
    }


def _slice(backtest: AudienceBacktest, name: str) -> dict[str, Any]:
    rows = {(row.contender, row.metric): row for row in backtest.measures if row.slice == name}
    contenders = list(dict.fromkeys(contender for contender, _ in rows))
    metrics = [metric for metric in audience_backtest.METRICS if any(of == metric for _, of in rows)]
    cells: list[Row] = [[rival, *(_cell(rows.get((rival, metric))) for metric in metrics)] for rival in contenders]
    marks = ["leader" if rival == audience_backtest.OURS else "" for rival in contenders]
    first = next(iter(rows.values()))
    return {
        "name": name,
        "contacts": first.rows,
        "conversions": first.conversions,
        "table": Table(["contender", *metrics], cells, marks),
    }
