"""Purchase days of users, in blocks: what the models of udfs/users read."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from jobs.transforms.held import held
from jobs.transforms.purchases import purchase_history
from jobs.transforms.sample import drawn
from schemas.run import RunContext
from schemas.segments import Segments
from udfs.days import NEVER
from udfs.users.history import History, history_of
from udfs.users.segments import Limits

USERS_PER_BLOCK = 20_000
LINES = "user_id STRING, day INT, spend DOUBLE, baskets BIGINT, known INT, undone INT"


def user_days(bought: DataFrame) -> DataFrame:
    """LINES of known users: of `purchase_history` what past runs knew, else what is known now."""
    never = F.lit(NEVER)
    undone = F.coalesce(F.unix_date("undone_on"), never) if "undone_on" in bought.columns else never
    lines = bought.where("user_id IS NOT NULL").select(
        "user_id",
        F.unix_date("event_date").alias("day"),
        (F.col("quantity").cast("double") * F.col("unit_price")).alias("paid"),
        "basket_id",
        F.unix_date("run_date").alias("known"),
        undone.alias("undone"),
    )
    sums = [F.sum("paid").alias("spend"), F.count_distinct("basket_id").alias("baskets")]
    return (
        lines.groupBy("user_id", "day", "known", "undone")
        .agg(*sums)
        .select(*(part.split()[0] for part in LINES.split(", ")))
    )


def past_days(events: DataFrame, run: RunContext, most_users: int) -> DataFrame:
    """LINES of about `most_users` users, as past runs knew them."""
    days = user_days(purchase_history(events, run.deployment)).transform(held)
    users = days.select("user_id").distinct().count()
    return drawn(days, "user_id", most_users, users, "profiles")


def limits_of(conf: Segments) -> Limits:
    """What a deployment says of segments' limits, as the model keeps them."""
    return Limits(conf.quantiles, conf.surely_active, conf.never_lapsed, conf.margin)


def by_block(days: DataFrame, users: int, act: Callable[[History], pd.DataFrame], ddl: str) -> DataFrame:
    """The rows of `act` for each block of complete users."""

    def rows_of(lines: pa.Table) -> pa.Table:
        return arrow_rows.table(act(history_of(lines.to_pandas())), ddl)

    block = F.pmod(F.xxhash64("user_id"), F.lit(max(1, math.ceil(users / USERS_PER_BLOCK))))
    return days.groupBy(block).applyInArrow(rows_of, ddl)
