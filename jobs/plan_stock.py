"""The evening's stock and the demand ahead into what to do: order, move between locations, or look after."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.offer import MAX_AGE_DAYS
from jobs.transforms.purchases import location, purchases, within
from schemas import gold
from schemas.contract import PARTITION
from schemas.derive import plain_ddl
from schemas.errors import ConfError, DataError
from schemas.rejects import most_rejected
from schemas.run import RunContext
from udfs.inventory import plan as stock_plan

PAIRS_PER_BLOCK = 20_000  # with their forecasts some 50 MB in an executor's Python worker
KEY = ("location_id", "item_id")
SIMULATED = " [simulated stock]"


def plan_stock(
    demand_forecast: DataFrame,
    demand_profile: DataFrame,
    stock: DataFrame,
    ways: DataFrame,
    events: DataFrame,
    *,
    run: RunContext,
    by_location: bool = True,
    service_level: float = 0.95,
    alert_above: float = 0.2,
    review_days: int = 1,
    transfer_days: int = 1,
    max_age_days: int = MAX_AGE_DAYS,
    max_unknown_share: float = 0.9,
) -> DataFrame:
    """gold.inventory_actions: what to do about each pair of the stock snapshot (udfs/inventory/plan.py has the rules).

    The demand of a lead time is the weeks of the forecast times the day shares of the profile.
    Sales since the evening of the snapshot are deducted from its stock; `by_location`, as in forecast_demand: sales are
    at the log's location, or else all at 'all'. `service_level`: the probability with which an order placed now, with
    the stock on hand and on order, must last until the next but one can arrive; `alert_above`: the probability of
    running out before it arrives from which on the pair needs attention. Orders are made every `review_days`; a
    transfer takes `transfer_days`. The pairs of a snapshot more than `max_age_days` old get no row. With transfer costs
    (`ways`), stock moves only between their locations, at the least cost. Reasons say so where the deployment calls its
    stock simulated. DataError where no pair has a forecast, or more than `max_unknown_share` none.
    """
    if not 0 < service_level < 1:
        raise ConfError(f"[jobs.plan_stock] service_level must be between 0 and 1; it is {service_level}")
    for name, share in (("alert_above", alert_above), ("max_unknown_share", max_unknown_share)):
        if not 0 <= share <= 1:
            raise ConfError(f"[jobs.plan_stock] {name} must be in [0, 1]; it is {share}")
    for name, days in (("review_days", review_days), ("transfer_days", transfer_days)):
        if days < 1:
            raise ConfError(f"[jobs.plan_stock] {name} must be at least 1; it is {days}")
    fresh = stock.where(F.col("snapshot_date") >= F.lit(run.run_date - dt.timedelta(days=max_age_days)))
    now = held(left_tonight(fresh, purchases(events, run.deployment), run.run_date, max_age_days, by_location))
    known = demand_forecast.select(
        *KEY, "category", "target_week", "expected_units", "dispersion", "overdispersion"
    ).join(now.select(*KEY), list(KEY), "left_semi")
    pairs = now.count()
    _refuse_unknown_pairs(now, known, demand_forecast, pairs, max_unknown_share)
    block = F.pmod(F.xxhash64("item_id"), F.lit(max(1, pairs // PAIRS_PER_BLOCK)))
    costs = ways.select("from_location_id", "to_location_id", "cost").toPandas()  # every block needs them all
    shares = demand_profile.select("category", "target_date", "share").toPandas()  # and these
    act = partial(
        stock_plan.plan,
        profile=shares,
        run_date=run.run_date,
        service_level=service_level,
        alert_above=alert_above,
        review_days=review_days,
        transfer_days=transfer_days,
        way_costs=costs if len(costs) else None,
    )
    plan = _planner(act, run.run_date)
    actions = now.groupBy(block).cogroup(known.groupBy(block)).applyInArrow(plan, plain_ddl(gold.INVENTORY_ACTIONS))
    if run.deployment.is_simulated("stock"):
        actions = actions.withColumn("reason", F.concat("reason", F.lit(SIMULATED)))
    return actions.select(*gold.INVENTORY_ACTIONS.column_names)


def left_tonight(
    stock: DataFrame, bought: DataFrame, run_date: dt.date, max_age_days: int, by_location: bool = True
) -> DataFrame:
    """The snapshot's pairs with on_hand and on_order as they are on run_date's evening: less what was sold since.

    What was sold beyond what was on hand came out of what was on order. Neither goes below 0. Sums are exact; what the
    plan reads of them, and pack_size, are doubles. bought: `purchases`.
    """
    lately = within(bought, run_date, max_age_days).select(location(by_location), "item_id", "event_date", "quantity")
    since = stock.select(*KEY, "snapshot_date").join(lately, list(KEY), "inner")
    sold = since.where("event_date > snapshot_date").groupBy(*KEY).agg(F.sum("quantity").alias("sold"))
    none = F.lit(0)
    left = F.col("on_hand") - F.coalesce("sold", none)
    return stock.join(sold, list(KEY), "left").select(
        *KEY,
        F.greatest(left, none).cast("double").alias("on_hand"),
        F.greatest(F.col("on_order") + F.least(left, none), none).cast("double").alias("on_order"),
        "lead_time_days",
        F.col("pack_size").cast("double").alias("pack_size"),
    )


def _refuse_unknown_pairs(
    stock: DataFrame, known: DataFrame, demand_forecast: DataFrame, pairs: int, max_share: float
) -> None:
    """DataError where too many of the stock's pairs have no forecast; one of them, and one of the forecast, is shown.

    `known` are the forecast's rows of the stock's pairs. A shop that has sold nothing yet has no forecast at all.
    """
    with_forecast = known.select(*KEY).distinct().count()
    if not pairs or pairs - with_forecast <= min(most_rejected(max_share, pairs), pairs - 1):
        return
    unknown = stock.join(demand_forecast, list(KEY), "left_anti")
    ours, theirs = (frame.select(*KEY).first() for frame in (unknown, demand_forecast))
    if ours and theirs:
        raise DataError(
            f"silver.stock: {pairs - with_forecast} of {pairs} pairs of location and item have no forecast, more than "
            f"[jobs.plan_stock] max_unknown_share allows. Its locations are like {ours['location_id']!r} and items "
            f"like {ours['item_id']!r}, those of gold.demand_forecast like {theirs['location_id']!r} and "
            f"{theirs['item_id']!r}: map both to the same, or set by_location = false in [jobs.forecast_demand] and "
            "[jobs.plan_stock] and map stock to 'all'"
        )


def _planner(
    act: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame], run_date: dt.date
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def plan(stock: pa.Table, forecast: pa.Table) -> pa.Table:
        actions = act(stock.to_pandas(), forecast.to_pandas())
        texts = ("location_id", "item_id", "action", "from_location_id", "reason")
        return pa.table(
            {
                PARTITION: pa.array([run_date] * len(actions), pa.date32()),
                **{name: pa.array(actions[name], pa.string(), from_pandas=True) for name in texts},
                "quantity": pa.array(actions["quantity"], pa.float64()).cast(pa.decimal128(18, 3)),
                "stockout_probability": pa.array(actions["stockout_probability"], pa.float64(), from_pandas=True),
            }
        ).select(gold.INVENTORY_ACTIONS.column_names)

    return plan


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("plan_stock")
