"""What forecasts, stock actions and audiences of earlier dates were worth, by what followed up to run_date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import build_audiences, launch, progress
from jobs.backtest_stock import StockBacktest, StockRow, backtest_stock
from jobs.conf import Deployment
from jobs.forecast_demand import SALES, daily_sales, promoted_weeks, shop_of
from jobs.plans_page import Plans, plans_page
from jobs.shop import date_of, day_number
from schemas import ops
from schemas.derive import plain_ddl
from udfs import audience_backtest, demand_backtest
from udfs.audience_backtest import Backtest as AudienceBacktest
from udfs.demand_backtest import Backtest as DemandBacktest
from udfs.demand_block import Block
from udfs.demand_days import Holiday
from udfs.horizon import HORIZON_DAYS

CUTS = 3  # of the demand, 28 days apart; the newest has just been followed by 28 known days
TESTED = 3  # one in so many campaigns, the newest, are predicted by the ones before them
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
    run_date: dt.date,
    deployment: Deployment,
    publish_page: Callable[[str, str], None],
    by_location: bool = True,
    max_pairs: int = 400_000,
    slow_series: int = 4_000,
    stock_pairs: int = 100_000,
    training_contacts: int = 500_000,
) -> DataFrame:
    """ops.backtests: forecasts, stock actions and audiences against their peers, each made from what was known then.

    Demand: three dates 28 days apart, the newest 28 days before run_date, on whole items drawn by hash to about
    `max_pairs` pairs (AutoETS on about `slow_series` series). Stock: the 56 days up to run_date with real sales as the
    demand, on about `stock_pairs` pairs with lead times as in the newest snapshot; left out where there is none.
    Audiences: the newest third of the campaigns, each told by the ones that were over before it began; left out where
    there are none. All of it is held in the driver's memory, some 2 GB at these sizes. The page for people is
    `backtest/<run_date>.html` in the lake.
    """
    holidays = [Holiday(day_number(h.date), h.name, h.closed) for h in deployment.holidays]
    today, sales = day_number(run_date), daily_sales(events, items, run_date, by_location).persist()
    shop, pairs = shop_of(sales), sales.select("location_id", "item_id").distinct().count()
    lines = _drawn(sales, max_pairs / max(pairs, 1)).toPandas()
    told = _drawn(promoted_weeks(promotions, run_date), max_pairs / max(pairs, 1)).toPandas()
    block = Block.of(lines[list(SALES)], lines[["item_id", "category"]], promotions=told if len(told) else None)
    cuts = [today - HORIZON_DAYS * number for number in range(1, CUTS + 1)]
    progress.say(
        f"demand: {len(block.pair_item):,} of {pairs:,} pairs, from {', '.join(str(date_of(c)) for c in cuts)}"
    )
    demand = demand_backtest.backtest(block, shop, cuts, holidays=holidays, slow_series=slow_series)
    simulated = None
    if not stock.isEmpty():
        leads = _drawn(stock.select("location_id", "item_id", "lead_time_days"), stock_pairs / max(pairs, 1)).toPandas()
        kept = lines[lines["item_id"].isin(set(leads["item_id"]))]
        simulated = backtest_stock(kept, shop, leads, today, holidays, progress.say)
    answered = None
    if not campaigns.isEmpty() and not ad_events.isEmpty():
        answered = _audiences(events, items, item_vectors, campaigns, ad_events, today + 1, training_contacts)
    made_up = "stock" in deployment.sources and deployment.sources["stock"].simulated
    page = Plans(deployment.name, run_date, demand, simulated, answered, made_up)
    publish_page(f"backtest/{run_date}.html", plans_page(page))
    rows = [(run_date, *row) for row in (*_demand(demand), *_stock(simulated), *_answers(answered))]
    return SparkSession.active().createDataFrame(rows, plain_ddl(ops.BACKTESTS))


def _drawn(frame: DataFrame, share: float) -> DataFrame:
    """The rows of about that share of the items, the same ones every time."""
    draw = F.pmod(F.xxhash64("item_id", F.lit("backtest")), F.lit(1_000_000))
    return frame if share >= 1 else frame.where(draw < int(1_000_000 * share))


def _audiences(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    campaigns: DataFrame,
    ad_events: DataFrame,
    day: int,
    training_contacts: int,
) -> AudienceBacktest | None:
    """The contest over the newest third of the campaigns that have begun; None where none had one before it."""
    made = build_audiences.learned(
        events, items, item_vectors, campaigns, ad_events, day, training_contacts, everything=True
    )
    book = build_audiences.read_book(made.book)
    rows = made.rows.toPandas()
    contacted = set(rows["campaign_id"])
    begun = [number for number in np.argsort(book.starts, kind="stable") if str(book.ids[number]) in contacted]
    tested = [int(number) for number in begun[len(begun) - len(begun) // TESTED :]]
    progress.say(f"audiences: {len(tested)} campaigns, {len(rows):,} contacts")
    return audience_backtest.backtest(rows, book, day, tested) if tested else None


def _demand(found: DemandBacktest) -> Figures:
    for row in found.rows:
        cut = "all dates" if row.cut == demand_backtest.ALL_CUTS else str(date_of(row.cut))
        yield "demand", row.contender, f"{row.level}, {cut}", row.metric, *_plain(row.value, row.low, row.high)


def _stock(found: StockBacktest | None) -> Figures:
    for row in found.rows if found else ():
        yield _of_stock(row)


def _of_stock(row: StockRow) -> tuple[str, str, str, str, float | None, float | None, float | None]:
    return "stock", row.contender, row.slice, row.metric, *_plain(row.value, row.low, row.high)


def _answers(found: AudienceBacktest | None) -> Figures:
    for row in found.measures if found else ():
        yield "audiences", row.contender, row.slice, row.metric, *_plain(row.value, row.low, row.high)


def _plain(*numbers: float) -> tuple[float | None, float | None, float | None]:
    """Numbers as a table has them: null where there is none."""
    value, low, high = (None if pd.isna(number) else float(number) for number in numbers)
    return value, low, high


if __name__ == "__main__":
    launch.main("backtest_plans")
