"""The demand model over a shop's blocks of items: what it reads, its training rows, its fit in one task."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from jobs.transforms.demand_inputs import block_of, daily_sales, promoted_weeks, shop_totals
from jobs.transforms.held import held
from schemas.run import RunContext
from udfs.days import NEVER, day_number
from udfs.demand import forecast as demand
from udfs.demand.block import LISTED_DAYS, Block, Shop
from udfs.demand.features import FEATURES
from udfs.demand.forecast import TARGETS
from udfs.demand.model import Settings

PAIRS_PER_BLOCK = 20_000  # with features some 100 MB in an executor's Python worker
TRAINING = ", ".join(  # the rows that the model learns from
    ("level TINYINT, origin INT, item_id STRING, location_id STRING", *(f"{n} FLOAT" for n in (*FEATURES, *TARGETS)))
)


@dataclass(frozen=True)
class Demand:
    """The sales and promoted weeks of a shop up to run_date, its totals, and how many pairs are to be forecast."""

    run_date: dt.date
    sales: DataFrame
    promoted: DataFrame
    shop: Shop
    pairs: int

    def by_block(self, act: Callable[[Block], pa.Table], ddl: str) -> DataFrame:
        """The rows of `act` for every block of complete items."""

        def rows_of(sales: pa.Table, promoted: pa.Table) -> pa.Table:
            return act(block_of(sales.to_pandas(), promoted.to_pandas()))

        block = F.pmod(F.xxhash64("item_id"), F.lit(max(1, self.pairs // PAIRS_PER_BLOCK)))
        return self.sales.groupBy(block).cogroup(self.promoted.groupBy(block)).applyInArrow(rows_of, ddl)

    def training_rows(self, settings: Settings) -> DataFrame:
        """TRAINING rows of at most about settings.max_pairs pairs and origins."""
        today, share = day_number(self.run_date), demand.sample_share(self.pairs, settings)
        learn = partial(demand.training_rows, shop=self.shop, run_day=today, share=share, settings=settings)
        return self.by_block(lambda block: arrow_rows.table(learn(block), TRAINING), TRAINING)


def read_demand(
    events: DataFrame, items: DataFrame, promotions: DataFrame, run: RunContext, by_location: bool
) -> Demand:
    """What the demand model reads of a shop: purchases of items of the catalogue in two years, promotions begun."""
    sales = daily_sales(events, items, run.run_date, run.deployment, by_location).transform(held)
    shop = Shop.of(*(total.toPandas() for total in shop_totals(sales)))
    listed = sales.where((F.col("day") > day_number(run.run_date) - LISTED_DAYS) & (F.col("undone") == NEVER))
    pairs = listed.select("location_id", "item_id").distinct().count()
    return Demand(run.run_date, sales, promoted_weeks(promotions, run.run_date), shop, pairs)
