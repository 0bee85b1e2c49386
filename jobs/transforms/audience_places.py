"""Which pairs of users and campaigns get a place: in one task, or by prices found on a sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.sample import drawn
from udfs.audiences import allocation

# A pair that is worth a place: `taken`, or a control's; `net` is its value less the campaign's price. One row of each
# task has no pair, but the task's part of the upper bound.
CHOSEN = "campaign_id STRING, user_id STRING, taken BOOLEAN, net DOUBLE, upper_bound DOUBLE, exact BOOLEAN"
BEFORE = (Window.unboundedPreceding, -1)  # rows of a window


def allocated(pairs: DataFrame, limits: DataFrame, max_per_week: int, max_pairs: int) -> DataFrame:
    """CHOSEN: every pair that gets a place, every control that would be worth one, and the parts of the upper bound."""
    asked = pairs.join(F.broadcast(limits), "campaign_id", "inner")
    count = asked.count()
    if count <= max_pairs:
        together: DataFrame = asked.groupBy(F.lit(0).alias("all")).applyInArrow(_allocate(max_per_week), CHOSEN)
        return together
    some = drawn(asked, "user_id", max_pairs, count, "prices").groupBy(F.lit(0).alias("all"))
    price = _prices(max_per_week, max_pairs / count)
    priced = some.applyInArrow(price, "campaign_id STRING, price DOUBLE").persist()
    block = F.pmod(F.xxhash64("user_id"), F.lit(4 * math.ceil(count / max_pairs)))
    with_price = asked.join(F.broadcast(priced), "campaign_id", "left").groupBy(block)
    wanted = with_price.applyInArrow(_choose(max_per_week), CHOSEN)
    better = Window.partitionBy("campaign_id").orderBy(F.desc("net"), "user_id").rowsBetween(*BEFORE)
    before = F.coalesce(F.sum(F.col("taken").cast("int")).over(better), F.lit(0))  # a control is held to the same
    placed = wanted.withColumn("before", before).join(F.broadcast(limits), "campaign_id", "left")
    kept = placed.where("campaign_id IS NULL OR before < capacity")
    places = limits.join(priced, "campaign_id", "inner")
    worth = places.agg(F.sum(F.col("capacity") * F.col("price")).alias("upper_bound"), F.lit(False).alias("exact"))
    return kept.drop("before", "capacity").unionByName(worth, allowMissingColumns=True)


def _allocate(max_per_week: int) -> Callable[[pa.Table], pa.Table]:
    def allocate(asked: pa.Table) -> pa.Table:
        pairs = _Pairs(asked, max_per_week)
        found = allocation.allocate(*pairs.of(~pairs.control), pairs.capacity, pairs.left)
        return pairs.chosen(found.chosen, found.prices, found.upper_bound, found.exact)

    return allocate


def _prices(max_per_week: int, share: float) -> Callable[[pa.Table], pa.Table]:
    def price(asked: pa.Table) -> pa.Table:
        pairs = _Pairs(asked, max_per_week)
        most = np.floor(pairs.capacity * share).astype(np.int64)
        prices = allocation.find_prices(*pairs.of(~pairs.control & (pairs.value > 0)), most, pairs.left)
        return pa.table({"campaign_id": pa.array(pairs.campaigns, pa.string()), "price": pa.array(prices)})

    return price


def _choose(max_per_week: int) -> Callable[[pa.Table], pa.Table]:
    def choose(asked: pa.Table) -> pa.Table:
        pairs = _Pairs(asked, max_per_week)
        first = pairs.table.groupby("campaign_id")["price"].first().reindex(pairs.campaigns)
        prices = first.fillna(0.0).to_numpy(np.float64)
        open_to = ~pairs.control & (pairs.capacity[pairs.campaign] > 0)
        wanted = allocation.choose(*pairs.of(open_to), pairs.left, prices)
        chosen = np.zeros(len(open_to), bool)
        chosen[np.flatnonzero(open_to)] = wanted
        bound = allocation.bound_terms(*pairs.of(open_to), pairs.left, prices)
        return pairs.chosen(chosen[~pairs.control], prices, bound, False)

    return choose


class _Pairs:
    """The pairs of one task as arrays: codes of users and campaigns, their value, what limits each.

    A pair whose campaign is counted among the user's already needs none of the places left: it stands as a user of its
    own who has one.
    """

    def __init__(self, asked: pa.Table, max_per_week: int) -> None:
        table = asked.to_pandas().sort_values(["user_id", "campaign_id"], ignore_index=True)
        self.table = table
        self.user, users = pd.factorize(table["user_id"])
        counted = table["counted"].to_numpy(bool)
        self.user[counted] = len(users) + np.arange(counted.sum())
        self.campaign, self.campaigns = pd.factorize(table["campaign_id"], sort=True)
        self.value = table["expected_value"].to_numpy(np.float64)
        self.control = table["is_control"].to_numpy(bool)
        recent = table.groupby("user_id")["recent"].first().reindex(users)
        left = np.maximum(max_per_week - recent.to_numpy(np.int64), 0)
        self.left = np.concatenate([left, np.ones(counted.sum(), np.int64)])
        self.capacity = table.groupby("campaign_id")["capacity"].first().reindex(self.campaigns).to_numpy(np.int64)

    def of(self, rows: Any) -> tuple[Any, Any, Any]:
        """User, campaign and value of some of the pairs."""
        return self.user[rows], self.campaign[rows], self.value[rows]

    def chosen(self, taken: Any, prices: Any, upper_bound: float, exact: bool) -> pa.Table:
        """CHOSEN: of the pairs that are no controls the taken ones, and the controls that would be at these prices."""
        pairs = (self.user, self.campaign, self.value, self.control)
        worth = allocation.choose_controls(*pairs, self.capacity, self.left, prices)
        rows = np.concatenate([np.flatnonzero(~self.control)[taken], np.flatnonzero(worth)])
        net = self.value[rows] - prices[self.campaign[rows]]
        size, listed = len(rows), self.table.iloc[rows]
        return pa.table(
            {
                "campaign_id": pa.array([*listed["campaign_id"], None], pa.string()),
                "user_id": pa.array([*listed["user_id"], None], pa.string()),
                "taken": pa.array([*(~self.control[rows]).tolist(), None], pa.bool_()),
                "net": pa.array([*net.tolist(), None], pa.float64()),
                "upper_bound": pa.array([None] * size + [upper_bound], pa.float64()),
                "exact": pa.array([None] * size + [exact], pa.bool_()),
            }
        )
