"""Which pairs of users and campaigns get a place: the best choice in one task, or by prices in many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.sample import drawn
from udfs.audiences import allocation

# A pair that is worth a place: `taken`, or a control's; `net` is its value less the campaign's price. One row of each
# task has no pair, but the task's part of the upper bound.
CHOSEN = (
    "campaign_id STRING, user_id STRING, taken BOOLEAN, counted BOOLEAN, net DOUBLE, upper_bound DOUBLE, exact BOOLEAN"
)
BEFORE = (Window.unboundedPreceding, -1)  # rows of a window


def allocated(pairs: DataFrame, limits: DataFrame, max_per_week: int, max_pairs: int) -> DataFrame:
    """CHOSEN: every pair that gets a place, every control that would be worth one, and the parts of the upper bound.

    One task holds at most `max_pairs` pairs, and solves at most EXACT_PAIRS of them to the optimum; more are allocated
    by prices.
    """
    candidates = pairs.join(F.broadcast(limits), "campaign_id", "inner")
    count = candidates.count()
    if count <= min(max_pairs, allocation.EXACT_PAIRS):
        together: DataFrame = candidates.groupBy(F.lit(0).alias("all")).applyInArrow(_allocate(max_per_week), CHOSEN)
        return together
    return _by_prices(candidates, limits, max_per_week, max_pairs, count)


def _by_prices(candidates: DataFrame, limits: DataFrame, max_per_week: int, max_pairs: int, count: int) -> DataFrame:
    """CHOSEN, by prices computed on all users or a sample, choices per block of users, and a fill of the room left.

    `candidates` are `count` pairs with their campaign's capacity.
    """
    some = drawn(candidates, "user_id", max_pairs, count, "prices").groupBy(F.lit(0).alias("all"))
    price = _prices(max_per_week, min(1.0, max_pairs / count))
    priced = some.applyInArrow(price, "campaign_id STRING, price DOUBLE").transform(held)
    block = F.pmod(F.xxhash64("user_id"), F.lit(4 * math.ceil(count / max_pairs)))
    with_price = candidates.join(F.broadcast(priced), "campaign_id", "left")
    wanted = with_price.groupBy(block).applyInArrow(_choose(max_per_week), CHOSEN)
    better = Window.partitionBy("campaign_id").orderBy(F.desc("net"), "user_id").rowsBetween(*BEFORE)
    before = F.coalesce(F.sum(F.col("taken").cast("int")).over(better), F.lit(0))  # a control is held to the same
    placed = wanted.withColumn("before", before).join(F.broadcast(limits), "campaign_id", "left")
    within = placed.where("campaign_id IS NULL OR before < capacity").drop("before", "capacity").transform(held)
    filled = _open_pairs(with_price, within.where("taken"), limits, max_per_week, max_pairs)
    more = filled.groupBy(F.lit(0).alias("all")).applyInArrow(_fill, CHOSEN)
    places = limits.join(priced, "campaign_id", "inner")
    worth = places.agg(F.sum(F.col("capacity") * F.col("price")).alias("upper_bound"), F.lit(False).alias("exact"))
    return within.unionByName(more).unionByName(worth, allowMissingColumns=True)


def _open_pairs(pairs: DataFrame, taken: DataFrame, limits: DataFrame, max_per_week: int, max_pairs: int) -> DataFrame:
    """The pairs that may still be taken, with `room` of the campaign and `slots` of the user; at most max_pairs.

    If there are more, those of most value, equally many of each campaign.
    """
    shown = taken.groupBy("campaign_id").agg(F.count("*").alias("shown"))
    room = (F.col("capacity") - F.coalesce("shown", F.lit(0))).alias("room")
    rooms = limits.join(shown, "campaign_id", "left").select("campaign_id", room).where("room > 0").transform(held)
    used = taken.where("NOT counted").groupBy("user_id").agg(F.count("*").alias("used"))
    slots = F.lit(max_per_week) - F.col("recent") - F.coalesce("used", F.lit(0))
    left = (
        pairs.where("NOT is_control AND expected_value > 0")
        .join(taken.select("campaign_id", "user_id"), ["campaign_id", "user_id"], "left_anti")
        .join(F.broadcast(rooms), "campaign_id", "inner")
        .join(used, "user_id", "left")
        .withColumn("slots", F.when(F.col("counted"), F.lit(1)).otherwise(slots))
        .where("slots > 0")
    )
    best = Window.partitionBy("campaign_id").orderBy(F.desc("expected_value"), "user_id")
    most = F.lit(max_pairs) / F.lit(max(rooms.count(), 1))
    return left.withColumn("place", F.row_number().over(best)).where(F.col("place") <= most).drop("place")


def _allocate(max_per_week: int) -> Callable[[pa.Table], pa.Table]:
    def allocate(candidates: pa.Table) -> pa.Table:
        pairs = _Pairs(candidates, max_per_week)
        best = allocation.allocate(*pairs.of(~pairs.control), pairs.capacity, pairs.left)
        return pairs.chosen(best.chosen, pairs.value, best.prices, best.upper_bound, True)

    return allocate


def _prices(max_per_week: int, share: float) -> Callable[[pa.Table], pa.Table]:
    def price(candidates: pa.Table) -> pa.Table:
        pairs = _Pairs(candidates, max_per_week)
        most = np.floor(pairs.capacity * share).astype(np.int64)
        wanted = ~pairs.control & (pairs.value > 0)
        user, campaign, _ = pairs.of(wanted)
        prices = allocation.find_prices(user, campaign, pairs.untied[wanted], most, pairs.left)
        return pa.table({"campaign_id": pa.array(pairs.campaigns, pa.string()), "price": pa.array(prices)})

    return price


def _choose(max_per_week: int) -> Callable[[pa.Table], pa.Table]:
    def choose(candidates: pa.Table) -> pa.Table:
        pairs = _Pairs(candidates, max_per_week)
        first = pairs.table.groupby("campaign_id")["price"].first().reindex(pairs.campaigns)
        prices = first.fillna(0.0).to_numpy(np.float64)
        open_to = ~pairs.control & (pairs.capacity[pairs.campaign] > 0)
        user, campaign, value = pairs.of(open_to)
        chosen = np.zeros(len(open_to), bool)
        chosen[np.flatnonzero(open_to)] = allocation.choose(user, campaign, pairs.untied[open_to], pairs.left, prices)
        bound = allocation.bound_terms(user, campaign, value, pairs.left, prices)
        return pairs.chosen(chosen[~pairs.control], pairs.untied, prices, bound, False)

    return choose


def _fill(left: pa.Table) -> pa.Table:
    """CHOSEN: those pairs of `_open_pairs` that still fit."""
    table = left.to_pandas().sort_values(["user_id", "campaign_id"], ignore_index=True)
    user, users = _codes_of_users(table)
    campaign, campaigns = pd.factorize(table["campaign_id"], sort=True)
    slots = np.ones(users, np.int64)
    slots[user] = table["slots"].to_numpy(np.int64)
    room = table.groupby("campaign_id")["room"].first().reindex(campaigns).to_numpy(np.int64)
    value = table["expected_value"].to_numpy(np.float64)
    chosen = allocation.fill(user, campaign, value, room, slots)
    net = value - table["price"].fillna(0.0).to_numpy(np.float64)
    rows = table[chosen]
    return pa.table(
        {
            "campaign_id": pa.array(rows["campaign_id"], pa.string()),
            "user_id": pa.array(rows["user_id"], pa.string()),
            "taken": pa.array([True] * len(rows), pa.bool_()),
            "counted": pa.array(rows["counted"].tolist(), pa.bool_()),
            "net": pa.array(net[chosen], pa.float64()),
            "upper_bound": pa.nulls(len(rows), pa.float64()),
            "exact": pa.nulls(len(rows), pa.bool_()),
        }
    )


def _codes_of_users(table: pd.DataFrame) -> tuple[Any, int]:
    """Each pair's user as a code, and how many codes there are.

    A pair whose campaign is already counted for the user needs none of the remaining places: it gets the code of a
    user of its own with one place.
    """
    user, users = pd.factorize(table["user_id"])
    counted = table["counted"].to_numpy(bool)
    user[counted] = len(users) + np.arange(counted.sum())
    return user, len(users) + int(counted.sum())


class _Pairs:
    """The pairs of one task as arrays: codes of users and campaigns, their values and limits.

    `untied`: the values for the price search, without ties, equal for a pair in every task.
    """

    def __init__(self, candidates: pa.Table, max_per_week: int) -> None:
        table = candidates.to_pandas().sort_values(["user_id", "campaign_id"], ignore_index=True)
        self.table = table
        self.user, users = _codes_of_users(table)
        self.campaign, self.campaigns = pd.factorize(table["campaign_id"], sort=True)
        self.value = table["expected_value"].to_numpy(np.float64)
        hashes = pd.util.hash_pandas_object(table[["campaign_id", "user_id"]].astype(object), index=False)
        self.untied = allocation.without_ties(self.value, hashes.to_numpy(np.float64) / 2.0**64)
        self.control = table["is_control"].to_numpy(bool)
        left = np.maximum(max_per_week - table["recent"].to_numpy(np.int64), 0)
        left[table["counted"].to_numpy(bool)] = 1
        self.left = np.zeros(users, np.int64)
        self.left[self.user] = left
        self.capacity = table.groupby("campaign_id")["capacity"].first().reindex(self.campaigns).to_numpy(np.int64)

    def of(self, rows: Any) -> tuple[Any, Any, Any]:
        """User, campaign and value of some of the pairs."""
        return self.user[rows], self.campaign[rows], self.value[rows]

    def chosen(self, taken: Any, value: Any, prices: Any, upper_bound: float, exact: bool) -> pa.Table:
        """CHOSEN: the taken pairs without controls, and the controls that would be taken at these prices."""
        pairs = (self.user, self.campaign, value, self.control)
        worth = allocation.choose_controls(*pairs, self.capacity, self.left, prices)
        rows = np.concatenate([np.flatnonzero(~self.control)[taken], np.flatnonzero(worth)])
        net = value[rows] - prices[self.campaign[rows]]
        size, listed = len(rows), self.table.iloc[rows]
        return pa.table(
            {
                "campaign_id": pa.array([*listed["campaign_id"], None], pa.string()),
                "user_id": pa.array([*listed["user_id"], None], pa.string()),
                "taken": pa.array([*(~self.control[rows]).tolist(), None], pa.bool_()),
                "counted": pa.array([*listed["counted"].tolist(), None], pa.bool_()),
                "net": pa.array([*net.tolist(), None], pa.float64()),
                "upper_bound": pa.array([None] * size + [upper_bound], pa.float64()),
                "exact": pa.array([None] * size + [exact], pa.bool_()),
            }
        )
