"""How much of lists each group of items has, and how much of what is bought."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.purchases import buyer
from jobs.transforms.top_n import top_n

HEAD_FROM = 0.8  # quantile of buyers over the items sold: the best-selling fifth
ACCURACY = 1_000
Z = 1.959963984540054
LIST_OF = {  # table: what its lists are of, and the item that a row shows
    "gold.recommendations": (("user_id",), "item_id"),
    "gold.similar_items": (("item_id",), "similar_item_id"),
    "gold.default_recommendations": (("segment_name", "segment_value"), "item_id"),
}


def listed(tables: Mapping[str, DataFrame]) -> DataFrame:
    """table_name, list, item_id, share: of its list's exposure that the place of an item has."""
    weight = 1 / F.log2(F.col("rank") + 1)
    parts = []
    for name, rows in tables.items():
        of, item = LIST_OF[name]
        chosen = (F.lit(name).alias("table_name"), F.xxhash64(*of).alias("list"), F.col(item).alias("item_id"))
        parts.append(rows.select(*chosen, weight.alias("weight")))
    of_list = F.sum("weight").over(Window.partitionBy("table_name", "list"))
    return reduce(DataFrame.unionByName, parts).withColumn("share", F.col("weight") / of_list).drop("weight")


def groups(items: DataFrame, bought: DataFrame, first: dt.date) -> DataFrame:
    """item_id, kind, group of each item of the catalogue or the log, as ops.exposure has them.

    bought: all purchases; first: the first of the days that decide on location, tail and new.
    """
    lately = bought.where(F.col("event_date") >= F.lit(first))
    buyers = F.count_distinct(buyer()).alias("buyers")
    counts = lately.groupBy("item_id").agg(buyers)
    head = counts.agg(F.percentile_approx("buyers", HEAD_FROM, ACCURACY).alias("head_from"))
    where_sold = lately.where("location_id IS NOT NULL").groupBy("item_id", "location_id").agg(buyers)
    place = top_n(where_sold, ["item_id"], [F.desc("buyers"), "location_id"], 1).select("item_id", "location_id")
    began = bought.groupBy("item_id").agg(F.min("event_date").alias("sold_first"))
    every = items.select("item_id", "brand", "category").join(began, "item_id", "full")
    joined = every.join(counts, "item_id", "left").join(place, "item_id", "left").crossJoin(head)
    is_head, is_known = F.col("buyers") >= F.col("head_from"), F.col("sold_first") < F.lit(first)
    named = {
        "brand": F.col("brand"),
        "category": F.col("category"),
        "location": F.col("location_id"),
        "tail": _one_of(is_head, "head", "tail"),
        "new": _one_of(is_known, "known", "new"),
    }
    each = F.array(*(F.struct(F.lit(kind).alias("kind"), value.alias("group")) for kind, value in named.items()))
    return joined.select("item_id", F.explode(each).alias("of")).where("of.group IS NOT NULL").select("item_id", "of.*")


def _one_of(condition: Column, yes: str, no: str) -> Column:
    return F.when(condition, F.lit(yes)).otherwise(F.lit(no))


def measured(lists: DataFrame, of_item: DataFrame, bought: DataFrame) -> DataFrame:
    """table_name, kind, group, exposure, bought_share, ratio, low, high, lists, buyers.

    lists: as `listed` gives them; of_item: as `groups`; bought: purchases of the days that count. The interval is of
    the ratio of two means, by lists and by buyers (delta method on the logarithm). Where no list shows any of the
    group, its upper end is that of three lists that show it (the rule of three).
    """
    key = ["kind", "group"]
    sizes = lists.groupBy("table_name").agg(F.count_distinct("list").alias("lists"))
    by_list = lists.join(of_item, "item_id").groupBy("table_name", "list", *key).agg(F.sum("share").alias("share"))
    shares = (F.sum("share").alias("shares"), F.sum(F.col("share") ** 2).alias("squares"))
    exposed = by_list.groupBy("table_name", *key).agg(*shares)
    sold = _sold(of_item, bought)
    both = exposed.join(sold.crossJoin(sizes.select("table_name")), ["table_name", *key], "full")
    found = both.join(sizes, "table_name").fillna(0, ["shares", "squares", "bought_share", "bought_variance", "buyers"])
    mean = F.col("shares") / F.col("lists")
    variance = (F.col("squares") / F.col("lists") - mean**2) / F.greatest(F.col("lists") - 1, F.lit(1))
    share = F.col("bought_share")
    relative = F.greatest(variance, F.lit(0)) / mean**2 + F.col("bought_variance") / share**2
    found = found.withColumns({"exposure": mean, "spread": F.when(mean > 0, F.exp(F.lit(Z) * F.sqrt(relative)))})
    has_both = (F.col("exposure") > 0) & (share > 0)
    ratio = F.when(share > 0, F.col("exposure") / F.nullif(share, F.lit(0.0)))
    none_shown = F.when(share > 0, F.lit(3.0) / F.col("lists") / F.nullif(share, F.lit(0.0)))
    return found.select(
        *("table_name", *key),
        F.least("exposure", F.lit(1.0)).alias("exposure"),
        share,
        ratio.alias("ratio"),
        F.when(has_both, ratio / F.col("spread")).otherwise(F.when(share > 0, F.lit(0.0))).alias("low"),
        F.when(has_both, ratio * F.col("spread")).otherwise(none_shown).alias("high"),
        *("lists", "buyers"),
    )


def _sold(of_item: DataFrame, bought: DataFrame) -> DataFrame:
    """kind, group, bought_share, bought_variance (of that share, by buyers), buyers."""
    pairs = bought.select(F.xxhash64(buyer()).alias("buyer"), "item_id").distinct()
    of_buyer = pairs.groupBy("buyer").agg(F.count("*").cast("double").alias("all"))
    totals = of_buyer.agg(
        F.count("*").alias("shoppers"), F.sum("all").alias("pairs"), F.sum(F.col("all") ** 2).alias("squares_all")
    )
    mine = pairs.join(of_item, "item_id").groupBy("kind", "group", "buyer").agg(F.count("*").alias("n"))
    n, every = F.col("n").cast("double"), F.col("all")
    sums = (
        mine.join(of_buyer, "buyer")
        .groupBy("kind", "group")
        .agg(
            *(F.sum(n).alias("x"), F.sum(n * n).alias("xx"), F.sum(n * every).alias("xn")), F.count("*").alias("buyers")
        )
    )
    share = F.col("x") / F.col("pairs")
    spread = F.col("xx") - 2 * share * F.col("xn") + share**2 * F.col("squares_all")
    correction = F.col("shoppers") / F.greatest(F.col("shoppers") - 1, F.lit(1))
    variance = F.greatest(spread, F.lit(0.0)) * correction / F.col("pairs") ** 2
    counted = sums.crossJoin(totals)
    return counted.select("kind", "group", share.alias("bought_share"), variance.alias("bought_variance"), "buyers")
