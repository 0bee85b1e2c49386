"""The sample of a shop that item models are fitted on: bounded by a SampleBudget, the same one every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.item_counts import known_by
from jobs.transforms.purchases import buyer
from jobs.transforms.sample import PARTS
from jobs.transforms.top_n import top_n
from udfs.days import date_of
from udfs.recommend.item_statistics import SIZE_DAYS
from udfs.recommend.sample_budget import SampleBudget


@dataclass(frozen=True)
class ShopSize:
    """How many buyers and lines a shop has; buyers: by day, the distinct ones of the SIZE_DAYS before it."""

    users: int
    user_lines: int
    guest_baskets: int
    guest_lines: int
    longest_history: int  # lines of one user
    longest_basket: int
    buyers: dict[int, int]


def shop_size(lines: DataFrame, days: Sequence[int] = ()) -> ShopSize:
    """The size of a shop by all of its lines, in one query; `buyers` by those that the run before each day saw."""
    lately = {
        f"_{day}": known_by(lines, day) & F.col("event_date").between(date_of(day - SIZE_DAYS), date_of(day - 1))
        for day in days
    }
    active = [F.max(seen.cast("int")).alias(name) for name, seen in lately.items()]
    baskets = lines.groupBy(buyer(), "basket_id").agg(F.count(F.lit(1)).alias("lines"), *active)
    buyers = baskets.groupBy("buyer").agg(
        F.sum("lines").alias("lines"), F.max("lines").alias("basket"), *(F.max(name).alias(name) for name in lately)
    )
    known = F.col("buyer.user_id").isNotNull()
    row = buyers.agg(
        F.count_if(known).alias("users"),
        F.sum(F.when(known, F.col("lines"))).alias("user_lines"),
        F.count_if(~known).alias("guest_baskets"),
        F.sum(F.when(~known, F.col("lines"))).alias("guest_lines"),
        F.max(F.when(known, F.col("lines"))).alias("longest_history"),
        F.max("basket").alias("longest_basket"),
        *(F.sum(name).alias(name) for name in lately),
    ).first()
    assert row is not None  # an aggregate of everything has one row
    counted = {name: int(value or 0) for name, value in row.asDict().items()}
    return ShopSize(
        **{name: value for name, value in counted.items() if name not in lately},
        buyers={day: counted[f"_{day}"] for day in days},
    )


def sampled(lines: DataFrame, size: ShopSize, budget: SampleBudget) -> DataFrame:
    """The lines of a sample of the shop, which has this size: complete histories, but for what `budget` cuts."""
    share = min(1.0, budget.users / max(size.users, 1), budget.lines / max(size.user_lines, 1))
    guests = min(share, budget.guest_baskets / max(size.guest_baskets, 1), budget.lines / max(size.guest_lines, 1))
    chosen, who = lines, F.coalesce("user_id", "basket_id")
    if guests < 1:
        part = F.pmod(F.xxhash64(who, F.lit("sample")), F.lit(PARTS))
        most = F.when(F.col("user_id").isNotNull(), int(PARTS * share)).otherwise(int(PARTS * guests))
        chosen = lines.where(part < most)
    if size.longest_basket > budget.lines_per_basket:
        by_item: list[Column | str] = [F.xxhash64("item_id", "basket_id"), *lines.columns]
        chosen = top_n(chosen, ["basket_id"], by_item, budget.lines_per_basket)
    if size.longest_history > budget.lines_per_user:
        newest: list[Column | str] = [F.desc("event_date"), *lines.columns]
        chosen = top_n(chosen, [who], newest, budget.lines_per_user)
    return chosen
