"""Page of a backtest: how forecasts, stock actions and audiences would have done, in one file that needs no other."""

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
DEMAND_METRICS = ("wape", "wape_mean", "pinball", "covered", "covered_pit", "gain_wape", "gain_pinball")
MADE_UP = " SIMULATED: the snapshot, and so the lead times, are made up."


@dataclass(frozen=True)
class Plans:
    """All that the page shows; stock and audiences where the shop has them.

    vectors_of: the night whose vectors the audiences were judged with, None for none; simulated: the stock levels are.
    """

    shop: str
    run_date: dt.date
    demand: DemandBacktest
    stock: StockBacktest | None
    audiences: AudienceBacktest | None
    vectors_of: dt.date | None = None
    simulated: bool = False


def plans_page(found: Plans) -> str:
    """The page as HTML."""
    stock = Markup()
    if found.stock:
        protocol = PROTOCOL + MADE_UP * found.simulated
        stock = stock_section(found.stock.ours, found.stock.peers, found.stock.comparisons, protocol)
    return render(
        "plans_page.html.j2",
        title=f"Backtest of {found.shop}, {found.run_date}",
        heading=f"{found.shop}: what its plans were worth, by what followed up to {found.run_date}",
        demand=_demand(found.demand),
        least_weeks=demand_backtest.LEAST_WEEKS,
        stock=stock,
        audiences=_audiences(found.audiences, found.vectors_of) if found.audiences else None,
    )


def _demand(found: DemandBacktest) -> dict[str, Any]:
    """A table a level, all dates together; the shop's weeks as they were and as they were forecast."""
    cuts = sorted({row.cut for row in found.rows} - {demand_backtest.ALL_CUTS})
    return {
        "days": ", ".join(str(date_of(cut)) for cut in cuts),
        "outside": ", ".join(f"{share:.1%}" for share in found.outside),
        "levels": list(_levels(found, cuts)),
    }


def _levels(found: DemandBacktest, cuts: Sequence[int]) -> Iterator[dict[str, Any]]:
    for level, words in LEVELS.items():
        rows = [row for row in found.rows if row.level == level and row.cut == demand_backtest.ALL_CUTS]
        by_name = {(row.contender, row.metric): row for row in rows}
        metrics = [metric for metric in DEMAND_METRICS if any(row.metric == metric for row in rows)]
        contenders = list(dict.fromkeys(row.contender for row in rows))
        cells: list[Row] = [[name, *(_cell(by_name.get((name, metric))) for metric in metrics)] for name in contenders]
        marks = ["leader" if name == demand_backtest.OURS else "" for name in contenders]
        weeks = Markup()
        if level in found.units:
            weeks = svg(_weeks(found.units[level], found.expected[level], cuts), f"units a week: {words}")
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


def _audiences(found: AudienceBacktest, vectors_of: dt.date | None) -> dict[str, Any]:
    """A table of figures a slice, a table of leads, and the reliability of our probabilities."""
    of_all = {(row.contender, row.metric): row for row in found.measures if row.slice == audience_backtest.ALL}
    metrics = [f"{audience_backtest.LEAD}{metric}" for metric in audience_backtest.METRICS]
    peers = [
        one for one in dict.fromkeys(name for name, _ in of_all) if (one, f"{audience_backtest.LEAD}auc") in of_all
    ]
    leads: list[Row] = [[one, *(_cell(of_all.get((one, metric))) for metric in metrics)] for one in peers]
    return {
        "campaigns": ", ".join(found.campaigns),
        "vectors_of": vectors_of,
        "slices": [_slice(found, name) for name in dict.fromkeys(row.slice for row in found.measures)],
        "leads": Table(["over", *metrics], leads),
        "reliability": reliability("our probabilities beside what came of them", found.reliability),
    }


def _slice(found: AudienceBacktest, name: str) -> dict[str, Any]:
    rows = {(row.contender, row.metric): row for row in found.measures if row.slice == name}
    contenders = list(dict.fromkeys(contender for contender, _ in rows))
    metrics = [metric for metric in audience_backtest.METRICS if any(of == metric for _, of in rows)]
    cells: list[Row] = [[one, *(_cell(rows.get((one, metric))) for metric in metrics)] for one in contenders]
    marks = ["leader" if one == audience_backtest.OURS else "" for one in contenders]
    first = next(iter(rows.values()))
    return {
        "name": name,
        "contacts": first.rows,
        "conversions": first.conversions,
        "table": Table(["contender", *metrics], cells, marks),
    }
