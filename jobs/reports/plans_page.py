"""One result is a page: how forecasts, stock actions and audiences would have done, in one file that needs no other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from jobs.offline.backtest_stock import PROTOCOL, StockBacktest
from jobs.reports.page import ACCENT, QUIET, interval, page, reliability_figure, svg, table, text
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


@dataclass(frozen=True)
class Plans:
    """All that the page shows; stock and audiences where the shop has them.

    vectors_of: the night whose vectors the audiences were told by, None for none; simulated: the stock levels are.
    """

    shop: str
    run_date: dt.date
    demand: DemandBacktest
    stock: StockBacktest | None
    audiences: AudienceBacktest | None
    vectors_of: dt.date | None = None
    simulated: bool = False


def plans_page(found: Plans) -> str:
    """The whole page as HTML."""
    title = f"{found.shop}: what its plans were worth, by what followed up to {found.run_date}"
    parts = [f"<h1>{text(title)}</h1>", _demand(found.demand)]
    if found.stock:
        told = f"{PROTOCOL}{' SIMULATED: the snapshot, and so the lead times, are made up.' if found.simulated else ''}"
        parts.append(stock_section(found.stock.ours, found.stock.peers, found.stock.comparisons, told))
    if found.audiences:
        parts.append(_audiences(found.audiences, found.vectors_of))
    return page(f"Backtest of {found.shop}, {found.run_date}", parts)


def _demand(found: DemandBacktest) -> str:
    """A table a level, all dates together; the shop's weeks as they were and as they were forecast."""
    cuts = sorted({row.cut for row in found.rows} - {demand_backtest.ALL_CUTS})
    if not cuts:
        least = f"{demand_backtest.LEAST_WEEKS} weeks of sales before a date and four after it"
        return f"<section><h2>Demand</h2><p>The logs are too short: a backtest needs {least}.</p></section>"
    days = ", ".join(str(date_of(cut)) for cut in cuts)
    shares = ", ".join(f"{share:.1%}" for share in found.outside)
    parts = [
        "<section><h2>Demand</h2><p>Weekly units of the four weeks after each of the dates "
        f"{days}, by models of what was known on it. Of the units that followed, {shares} (newest date first) were "
        "sold by pairs that had sold nothing in 26 weeks and are not forecast.</p>"
    ]
    for level, words in LEVELS.items():
        rows = [row for row in found.rows if row.level == level and row.cut == demand_backtest.ALL_CUTS]
        told = {(row.contender, row.metric): row for row in rows}
        metrics = [
            m
            for m in ("wape", "wape_mean", "pinball", "covered", "covered_pit", "gain_wape", "gain_pinball")
            if any(row.metric == m for row in rows)
        ]
        contenders = list(dict.fromkeys(row.contender for row in rows))
        cells = [[text(name), *(_cell(told.get((name, metric))) for metric in metrics)] for name in contenders]
        marks = ["leader" if name == demand_backtest.OURS else "" for name in contenders]
        parts.append(f"<h3>{text(words)}</h3>{table(['contender', *metrics], cells, marks)}")
        if level in found.units:
            parts.append(svg(_weeks(found.units[level], found.expected[level], cuts), f"units a week: {words}"))
    parts.append(
        '<p class="quiet">wape: of the point that a contender publishes, ours p50; wape_mean: of the expected units; '
        "pinball: mean loss at .1, .5 and .9; covered: share of weeks between p10 and p90, both included; covered_pit: "
        "the same with the probability of the two ends counted in part, as counts need it; gain: by what share ours is "
        "below the peer. A name in brackets: on the sample of series that a slow peer was run on.</p></section>"
    )
    return "".join(parts)


def _cell(row: demand_backtest.Row | audience_backtest.Measure | None) -> str:
    """The figure with its interval; nothing where there is none."""
    return "" if row is None or np.isnan(row.value) else interval(row.value, row.low, row.high)


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


def _audiences(found: AudienceBacktest, vectors_of: dt.date | None) -> str:
    """A table of figures a slice, a table of leads, and the reliability of our probabilities."""
    vectors = (
        f"Items' vectors are those of the night {vectors_of}, the newest before the first of them began."
        if vectors_of
        else "No night has vectors from before the first of them began, so ours was judged without vectors."
    )
    parts = [
        "<section><h2>Audiences</h2><p>Of the users that each of the campaigns "
        f"{text(', '.join(found.campaigns))} was shown to, who would convert? Each was told by models of the campaigns "
        f"that were over before it began. {vectors} The campaigns' items are as they were listed last.</p>"
    ]
    slices = list(dict.fromkeys(row.slice for row in found.measures))
    for name in slices:
        rows = {(row.contender, row.metric): row for row in found.measures if row.slice == name}
        contenders = list(dict.fromkeys(contender for contender, _ in rows))
        metrics = [metric for metric in audience_backtest.METRICS if any(of == metric for _, of in rows)]
        cells = [[text(one), *(_cell(rows.get((one, metric))) for metric in metrics)] for one in contenders]
        marks = ["leader" if one == audience_backtest.OURS else "" for one in contenders]
        first = next(iter(rows.values()))
        parts.append(f"<h3>{text(name)}: {first.rows:,} contacts, {first.conversions:,} conversions</h3>")
        parts.append(table(["contender", *metrics], cells, marks))
    lead = {(row.contender, row.metric): row for row in found.measures if row.slice == audience_backtest.ALL}
    names = [one for one in dict.fromkeys(c for c, _ in lead) if (one, f"{audience_backtest.LEAD}auc") in lead]
    metrics = [f"{audience_backtest.LEAD}{metric}" for metric in audience_backtest.METRICS]
    cells = [[text(one), *(_cell(lead.get((one, metric))) for metric in metrics)] for one in names]
    parts.append(f"<h3>Our lead, user by user; more is better</h3>{table(['over', *metrics], cells)}")
    parts.append(reliability_figure("our probabilities beside what came of them", found.reliability))
    return "".join([*parts, "</section>"])
