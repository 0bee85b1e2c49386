"""What each location will sell of each item in the next 28 days: one model for all pairs, fitted anew every night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows, catalogue
from jobs.transforms.demand_inputs import block_of, daily_sales, holidays_of, promoted_weeks, shop_totals
from schemas import gold
from schemas.contract import PARTITION, Table
from schemas.deployment import Deployment
from schemas.derive import plain_ddl
from schemas.errors import ConfError
from udfs.days import day_number
from udfs.demand import forecast as demand
from udfs.demand.block import LISTED_DAYS, Block, Shop
from udfs.demand.features import FEATURES
from udfs.demand.forecast import TARGETS

PAIRS_PER_BLOCK = 20_000  # 28 rows each: some 60 MB in an executor's Python worker, with features 100
TRAINING = ", ".join(  # the rows that the model learns from
    ("level TINYINT, origin INT, item_id STRING, location_id STRING", *(f"{n} FLOAT" for n in (*FEATURES, *TARGETS)))
)


def forecast_demand(
    events: DataFrame,
    items: DataFrame,
    promotions: DataFrame,
    *,
    run_date: dt.date,
    deployment: Deployment,
    by_location: bool = True,
    training_pairs: int = 800_000,
    trees: int = 200,
) -> dict[str, DataFrame]:
    """gold.demand_forecast: 28 days of every pair of a location and an item that was sold in the last 26 weeks.

    And gold.item_demand: four weeks of each of these items, in all locations together.

    Demand is what was bought, returns not taken off. One global model for all pairs (udfs/demand/forecast.py) learns
    from the pairs' own past, at three earlier dates and from at most `training_pairs` rows, in one executor's memory
    (some 150 bytes a row); then it is applied to blocks of whole items. Days follow weekdays and the deployment's
    [[holidays]]. `by_location` = false: the shop's locations are where customers live, not where stock is; all count as
    one, 'all'.
    """
    if training_pairs < 1 or trees < 1:
        raise ConfError("[jobs.forecast_demand] training_pairs and trees must be at least 1")
    today, holidays = day_number(run_date), holidays_of(deployment)
    items = catalogue.listed(deployment, items, events)
    sales = daily_sales(events, items, run_date, by_location).persist()
    promoted = promoted_weeks(promotions, run_date)
    shop = Shop.of(*(total.toPandas() for total in shop_totals(sales)))
    listed = sales.where(F.col("day") > today - LISTED_DAYS)
    pairs = listed.select("location_id", "item_id").distinct().count()
    settings = demand.Settings(max_pairs=training_pairs, trees=trees)
    block = F.pmod(F.xxhash64("item_id"), F.lit(max(1, pairs // PAIRS_PER_BLOCK)))
    blocks = sales.groupBy(block).cogroup(promoted.groupBy(block))
    share = demand.sample_share(pairs, settings)
    learn = partial(demand.training_rows, shop=shop, run_day=today, share=share, settings=settings)
    rows = blocks.applyInArrow(_learner(learn), TRAINING)
    fitted = rows.groupBy(F.lit(0).alias("all")).applyInArrow(_fitter(today, settings), "model STRING").collect()
    model = (
        demand.from_json(fitted[0]["model"]) if fitted else demand.fit(arrow_rows.no_rows(TRAINING), today, settings)
    )
    known = {"shop": shop, "model": model, "run_day": today, "holidays": holidays}

    def table(contract: Table, day: str, ahead: Callable[..., pd.DataFrame]) -> DataFrame:
        rows_of = _forecaster(contract, day, partial(ahead, **known), run_date)
        return blocks.applyInArrow(rows_of, plain_ddl(contract)).select(*contract.column_names)

    return {
        "gold.demand_forecast": table(gold.DEMAND_FORECAST, "target_date", _pair_days),
        "gold.item_demand": table(gold.ITEM_DEMAND, "target_week", demand.item_weeks),
    }


def _learner(learn: Callable[[Block], pd.DataFrame]) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def rows_of(sales: pa.Table, promoted: pa.Table) -> pa.Table:
        return arrow_rows.table(learn(block_of(sales.to_pandas(), promoted.to_pandas())), TRAINING)

    return rows_of


def _fitter(today: int, settings: demand.Settings) -> Callable[[pa.Table], pa.Table]:
    def fit(rows: pa.Table) -> pa.Table:
        return pa.table({"model": [demand.fit(rows.to_pandas(), today, settings).to_json()]})

    return fit


def _pair_days(block: Block, **known: Any) -> pd.DataFrame:
    return demand.forecast(block, **known).to_frame()


def _forecaster(
    contract: Table, day: str, ahead: Callable[[Block], pd.DataFrame], run_date: dt.date
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """Rows of the contract for one block; `day` is its column for what `ahead` calls target_day."""

    def rows_of(sales: pa.Table, promoted: pa.Table) -> pa.Table:
        found = ahead(block_of(sales.to_pandas(), promoted.to_pandas()))
        days = pa.array(found["target_day"].to_numpy("int32"), pa.int32()).cast(pa.date32())
        columns: dict[str, pa.Array] = {PARTITION: pa.array([run_date] * len(found), pa.date32()), day: days}
        for column in contract.columns:
            if column.name not in columns:
                kind = pa.string() if column.type == "STRING" else pa.float64()
                columns[column.name] = pa.array(found[column.name], kind)
        return pa.table(columns).select(contract.column_names)

    return rows_of


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("forecast_demand")
