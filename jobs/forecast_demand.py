"""What each location will sell of each item in the next four weeks, and each day's share of its week."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.reports import progress
from jobs.transforms import arrow_rows, catalogue
from jobs.transforms.demand_inputs import holidays_of
from jobs.transforms.demand_model import TRAINING, Demand, read_demand
from jobs.transforms.json_models import applied
from schemas import gold
from schemas.contract import PARTITION, Table
from schemas.derive import plain_ddl
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.days import day_number
from udfs.demand import forecast as demand
from udfs.demand.block import Block
from udfs.demand.day_shares import Profile, profile
from udfs.demand.model import Model as DemandModel
from udfs.demand.model import Settings, from_json


def forecast_demand(
    events: DataFrame,
    items: DataFrame,
    promotions: DataFrame,
    demand_model: Model | None,
    *,
    run: RunContext,
    by_location: bool = True,
    training_pairs: int = 800_000,
    trees: int = 200,
) -> dict[str, DataFrame]:
    """gold.demand_forecast: four weeks of every pair of a location and an item that was sold in the last 26 weeks.

    gold.demand_profile: each day's share of its week, by category, from weekdays and the deployment's [[holidays]].
    gold.item_demand: four weeks of each of these items, in all locations together.

    Items that are not active have no rows.

    Demand is what was bought and not returned. The model of train_demand is applied to blocks of complete items.
    Where none has been promoted that has seen nothing after run_date, one is fitted within this run, with
    `training_pairs` and `trees` as train_demand has them, and ops.runs records no model for it. `by_location` = false:
    the shop's locations are where customers live, not where stock is; all count as one, 'all'.
    """
    if training_pairs < 1 or trees < 1:
        raise ConfError("[jobs.forecast_demand] training_pairs and trees must be at least 1")
    today, holidays = day_number(run.run_date), holidays_of(run.deployment)
    items = catalogue.active(catalogue.listed(run.deployment, items, events))
    read = read_demand(events, items, promotions, run, by_location)
    if demand_model:
        model = applied(demand_model, from_json)
    else:
        progress.say(f"demand: no promoted model up to {run.run_date}: one is fitted within this run (see make train)")
        model = _fitted(read, Settings(max_pairs=training_pairs, trees=trees))
    known = {"shop": read.shop, "model": model, "run_day": today, "holidays": holidays}

    def table(contract: Table, ahead: Callable[..., pd.DataFrame]) -> DataFrame:
        rows = read.by_block(_forecaster(contract, partial(ahead, **known), run.run_date), plain_ddl(contract))
        return rows.select(*contract.column_names)

    shares = profile(read.shop, today, holidays)
    return {
        "gold.demand_forecast": table(gold.DEMAND_FORECAST, _pair_weeks),
        "gold.demand_profile": _profile_rows(events.sparkSession, shares, run.run_date),
        "gold.item_demand": table(gold.ITEM_DEMAND, demand.item_weeks),
    }


def _fitted(read: Demand, settings: Settings) -> DemandModel:
    """A model of the rows up to the run's date, fitted in one task."""
    today = day_number(read.run_date)

    def fit(rows: pd.DataFrame) -> pa.Table:
        return pa.table({"model": [demand.fit(rows, today, settings).to_json()]})

    fitted = arrow_rows.in_one_task(read.training_rows(settings), fit, "model STRING").collect()
    return from_json(fitted[0]["model"]) if fitted else demand.fit(arrow_rows.no_rows(TRAINING), today, settings)


def _pair_weeks(block: Block, **known: Any) -> pd.DataFrame:
    return demand.forecast(block, **known).to_frame()


def _forecaster(
    contract: Table, ahead: Callable[[Block], pd.DataFrame], run_date: dt.date
) -> Callable[[Block], pa.Table]:
    """Rows of the contract for one block; target_week is what `ahead` calls target_day."""

    def rows_of(block: Block) -> pa.Table:
        forecast = ahead(block)
        return _of_date(forecast.rename(columns={"target_day": "target_week"}), contract, run_date)

    return rows_of


def _profile_rows(spark: SparkSession, shares: Profile, run_date: dt.date) -> DataFrame:
    """Rows of gold.demand_profile: 28 a category, of every location."""
    frame = shares.to_frame().rename(columns={"target_day": "target_date"}).assign(location_id=None)
    rows = spark.createDataFrame(_of_date(frame, gold.DEMAND_PROFILE, run_date), plain_ddl(gold.DEMAND_PROFILE))
    return rows.select(*gold.DEMAND_PROFILE.column_names)


def _of_date(frame: pd.DataFrame, contract: Table, run_date: dt.date) -> pa.Table:
    """The frame's columns as the contract declares them, with run_date; its dates are days since 1970."""
    columns: dict[str, pa.Array] = {PARTITION: pa.array([run_date] * len(frame), pa.date32())}
    for column in contract.columns:
        if column.name == PARTITION:
            continue
        if column.type == "DATE":
            columns[column.name] = pa.array(frame[column.name].to_numpy("int32"), pa.int32()).cast(pa.date32())
        else:
            kind = pa.string() if column.type == "STRING" else pa.float64()
            columns[column.name] = pa.array(frame[column.name], kind, from_pandas=True)
    return pa.table(columns)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("forecast_demand")
