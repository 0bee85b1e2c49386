"""What forecasts, stock actions and audiences of earlier dates were worth, by what followed up to run_date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.offline.backtest_stock import StockRow, backtest_stock
from jobs.reports import progress
from jobs.reports.plans_page import Plans, plans_page
from jobs.transforms.audience_inputs import logs_since, read_book, read_known, training_rows
from jobs.transforms.demand_inputs import block_of, daily_sales, holidays_of, promoted_weeks, shop_totals
from jobs.transforms.held import held
from jobs.transforms.sample import drawn
from schemas import ops
from schemas.contract import PARTITION
from schemas.derive import plain_ddl
from schemas.run import RunContext
from udfs.audiences import backtest as audience_backtest
from udfs.audiences.backtest import CONTENDERS, UNREAD, Measure
from udfs.audiences.backtest import Backtest as AudienceBacktest
from udfs.days import date_of, day_number
from udfs.demand import backtest as demand_backtest
from udfs.demand.backtest import Backtest as DemandBacktest
from udfs.demand.block import Shop
from udfs.horizon import HORIZON_DAYS

CUTS = 3  # demand origins, 28 days apart; the newest is 28 days before run_date
TESTED = 3  # the newest 1 / TESTED of the campaigns are predicted from the ones before them
Figures = Iterator[tuple[str, str, str, str, float | None, float | None, float | None]]


def backtest_plans(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    promotions: DataFrame,
    stock: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    *,
    run: RunContext,
    by_location: bool = True,
    max_pairs: int = 400_000,
    slow_series: int = 4_000,
    stock_pairs: int = 100_000,
    training_contacts: int = 500_000,
) -> DataFrame:
    """ops.backtests: forecasts, stock actions and audiences against their peers, each from what was known at its date.

    Demand: three dates 28 days apart, the newest 28 days before run_date, on complete items drawn by hash to about
    `max_pairs` pairs (AutoETS on about `slow_series` series). Stock: the 56 days up to run_date with real sales as the
    demand, on about `stock_pairs` pairs with lead times as in the newest snapshot; left out where there is none.
    Audiences: the newest third of the campaigns, each predicted from the ones that ended before it began; left out
    where there are none. Vectors are those of the newest run before the first of these began, since the encoder of a
    later run has learned from their sales; without such a run they are judged without vectors. All data is held in the
    driver's memory, some 2 GB at these sizes. The HTML page is `backtest/<run_date>.html` in the lake.
    """
    run_date, today, holidays = run.run_date, day_number(run.run_date), holidays_of(run.deployment)
    sales = daily_sales(events, items, run_date, run.deployment, by_location).transform(held)
    shop, pairs = (
        Shop.of(*(total.toPandas() for total in shop_totals(sales))),
        sales.select("location_id", "item_id").distinct().count(),
    )

    def some(frame: DataFrame, most: int) -> pd.DataFrame:
        """The rows of a sample of items with about `most` pairs, the same items every time."""
        rows: pd.DataFrame = drawn(frame, "item_id", most, pairs, "backtest").toPandas()
        return rows

    lines = some(sales, max_pairs)
    block = block_of(lines, some(promoted_weeks(promotions, run_date), max_pairs))
    cuts = [today - HORIZON_DAYS * number for number in range(1, CUTS + 1)]
    progress.say(
        f"demand: {len(block.pair_item):,} of {pairs:,} pairs, from {', '.join(str(date_of(c)) for c in cuts)}"
    )
    demand = demand_backtest.backtest(block, shop, cuts, holidays=holidays, slow_series=slow_series)
    simulated = None
    if not stock.isEmpty():
        leads = some(stock.select("location_id", "item_id", "lead_time_days"), stock_pairs)
        sales_with_stock = lines[lines["item_id"].isin(set(leads["item_id"]))]
        simulated = backtest_stock(sales_with_stock, shop, leads, today, holidays, progress.say)
    answered, read_on = _audiences(events, items, item_vectors, campaigns, ad_events, training_contacts, run)
    stock_is_simulated = run.deployment.is_simulated("stock")
    page = Plans(run.deployment.name, run_date, demand, simulated, answered, read_on, stock_is_simulated)
    run.write_page(f"backtest/{run_date}.html", plans_page(page))
    figures = [
        *_demand(demand),
        *_figures("stock", simulated.rows if simulated else ()),
        *_figures("audiences", answered.measures if answered else ()),
    ]
    return SparkSession.active().createDataFrame([(run_date, *figure) for figure in figures], plain_ddl(ops.BACKTESTS))


def campaigns_to_judge(events: DataFrame, campaigns: DataFrame, ad_events: DataFrame) -> dict[str, dt.date]:
    """The first day of each of the newest third of the campaigns that began within the logs and had impressions.

    By first day; empty where there are fewer than TESTED.
    """
    within_logs = campaigns.select("campaign_id", "starts_on", "ends_on").where(
        F.col("starts_on") > logs_since(events, ad_events)
    )
    shown = ad_events.where("event_type = 'impression'").join(within_logs, "campaign_id", "inner")
    within = shown.where("event_date BETWEEN starts_on AND ends_on").select("campaign_id", "starts_on").distinct()
    begun = within.toPandas().sort_values(["starts_on", "campaign_id"])
    newest = begun.tail(len(begun) // TESTED)
    return dict(zip(newest["campaign_id"], newest["starts_on"], strict=True))


def vectors_before(item_vectors: DataFrame, day: dt.date) -> tuple[DataFrame, dt.date | None]:
    """The vectors of the newest run before `day`, and its run_date; no rows and None where there is no such run."""
    earlier = item_vectors.where(F.col(PARTITION) < F.lit(day))
    newest = earlier.agg(F.max(PARTITION)).collect()[0][0]
    return (earlier.where(F.col(PARTITION) == F.lit(newest)) if newest else earlier.limit(0)), newest


def _audiences(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    training_contacts: int,
    run: RunContext,
) -> tuple[AudienceBacktest | None, dt.date | None]:
    """The backtest on the newest campaigns, and the run_date of the vectors it reads; None where either is missing."""
    first_days = campaigns_to_judge(events, campaigns, ad_events)
    if not first_days:
        return None, None
    day = day_number(run.run_date) + 1
    vectors, read_on = vectors_before(item_vectors, min(first_days.values()))
    known = read_known(events, items, vectors, campaigns, ad_events, run.deployment)
    progress.say(f"audiences: {len(first_days)} campaigns, vectors {f'of {read_on}' if read_on else 'of no night'}")
    rows = training_rows(known, ad_events, day, training_contacts, everything=True).toPandas()
    book = read_book(known.book.toArrow())
    contacted = set(rows["campaign_id"])
    place = {name: number for number, name in enumerate(book.ids.tolist()) if name in contacted}
    tested = [place[name] for name in first_days if name in place]
    progress.say(f"audiences: {len(rows):,} contacts")
    # Without vectors, Nightshelf's contender is the audience model without BERT.
    contenders = {name: contender for name, contender in CONTENDERS.items() if read_on or name != UNREAD}
    return (audience_backtest.backtest(rows, book, day, tested, contenders) if tested else None), read_on


def _demand(backtest: DemandBacktest) -> Figures:
    for row in backtest.rows:
        cut = "all dates" if row.cut == demand_backtest.ALL_CUTS else str(date_of(row.cut))
        yield "demand", row.contender, f"{row.level}, {cut}", row.metric, *_plain(row.value, row.low, row.high)


def _figures(plan: str, rows: Iterable[StockRow | Measure]) -> Figures:
    for row in rows:
        yield plan, row.contender, row.slice, row.metric, *_plain(row.value, row.low, row.high)


def _plain(*numbers: float) -> tuple[float | None, float | None, float | None]:
    """Numbers as table values: NaN becomes None."""
    value, low, high = (None if pd.isna(number) else float(number) for number in numbers)
    return value, low, high


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("backtest_plans")
