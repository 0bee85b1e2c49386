"""What users buy, where and when: shares of spend by category, brand, location and weekday, and the price level."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.top_n import top_n

MOST = 10  # categories and brands of a user
PROMOTED = 0.9  # of the item's median price: what costs less was on offer
KINDS = ("category", "brand", "location", "weekday")


def user_habits(bought: DataFrame, items: DataFrame, candidates: DataFrame) -> DataFrame:
    """user_id, affinities, brands, favourite_location, favourite_weekday, price_level and promotion_share.

    bought: `purchases`; items: silver.items or, of a deployment without a catalogue, no row; candidates:
    features.candidates of the run, or none. Categories and brands of items that have left the catalogue do not count.
    """
    lines = _lines(bought, items)
    keys = F.array(*(F.struct(F.lit(kind).alias("kind"), F.col(kind).alias("key")) for kind in KINDS))
    keyed = lines.select("user_id", "paid", "event_date", F.explode(keys).alias("of")).where("of.key IS NOT NULL")
    habits = keyed.groupBy("user_id", F.col("of.kind").alias("kind"), F.col("of.key").alias("key")).agg(
        F.sum("paid").alias("paid"), F.count_distinct("event_date").alias("days")
    )
    own, shop = Window.partitionBy("user_id", "kind"), Window.partitionBy("kind", "key")
    totals = habits.groupBy("kind").agg(F.sum("paid").alias("shop_total"))
    shared = habits.withColumns(
        {
            "share": F.col("paid") / F.sum("paid").over(own),
            "shop_paid": F.sum("paid").over(shop),
        }
    ).join(F.broadcast(totals), "kind", "inner")
    known = shared.withColumn("lift", F.col("share") / (F.col("shop_paid") / F.col("shop_total")))
    by_days = F.col("kind").isin("location", "weekday")
    weight = F.when(by_days, F.col("days").cast("double")).otherwise(F.col("share"))
    first = top_n(known, ["user_id", "kind"], [F.desc(weight), F.desc("paid"), "key"], MOST, rank="place")
    ahead = first.join(_next_28(candidates, items), ["user_id", "kind", "key"], "left")
    gathered = ahead.groupBy("user_id").agg(
        _listed("category", "p_next_28"), _listed("brand"), _favourite("location"), _favourite("weekday")
    )
    return gathered.join(_prices(lines), "user_id", "inner").select(
        "user_id",
        F.col("category").alias("affinities"),
        F.col("brand").alias("brands"),
        F.col("location").alias("favourite_location"),
        F.col("weekday").cast("int").alias("favourite_weekday"),
        "price_level",
        "promotion_share",
    )


def _lines(bought: DataFrame, items: DataFrame) -> DataFrame:
    catalogue = items.select("item_id", "category", "brand")
    typed = bought.where("user_id IS NOT NULL").select(
        "user_id",
        "item_id",
        "event_date",
        F.col("quantity").cast("double").alias("units"),
        "unit_price",
        (F.col("quantity").cast("double") * F.col("unit_price")).alias("paid"),
        F.col("location_id").alias("location"),
        (F.weekday("event_date") + 1).cast("string").alias("weekday"),
    )
    return typed.join(catalogue, "item_id", "left")


def _listed(kind: str, *more: str) -> Column:
    """The user's keys of a kind as structs, greatest share first; an empty array without any."""
    fields: list[Column | str] = [F.col("key").alias(kind), "share", "lift", *more]
    entry = F.when(F.col("kind") == kind, F.struct("place", F.struct(*fields).alias("entry")))
    return F.transform(F.sort_array(F.collect_list(entry)), lambda each: each["entry"]).alias(kind)


def _favourite(kind: str) -> Column:
    return F.max(F.when((F.col("kind") == kind) & (F.col("place") == 1), F.col("key"))).alias(kind)


def _next_28(candidates: DataFrame, items: DataFrame) -> DataFrame:
    """user_id, kind, key, p_next_28: probability to buy any of the user's candidates of a category."""
    of_category = candidates.join(items.select("item_id", "category"), "item_id", "inner").where("category IS NOT NULL")
    none = F.sum(F.log1p(-F.least("score", F.lit(1 - 1e-9))))
    return of_category.groupBy("user_id", F.lit("category").alias("kind"), F.col("category").alias("key")).agg(
        (-F.expm1(none)).alias("p_next_28")
    )


def _prices(lines: DataFrame) -> DataFrame:
    """user_id, price_level, promotion_share by the items' mean and median prices over everybody."""
    usual = lines.groupBy("item_id").agg(
        (F.sum("paid") / F.sum("units")).alias("mean_price"), F.median("unit_price").alias("median_price")
    )
    priced = lines.select("user_id", "item_id", "units", "unit_price", "paid").join(usual, "item_id", "inner")
    promoted = F.when(F.col("unit_price") < PROMOTED * F.col("median_price"), F.col("paid")).otherwise(0.0)
    usually = F.sum(F.col("units") * F.col("mean_price"))
    return priced.groupBy("user_id").agg(
        F.try_divide(F.sum("paid"), usually).alias("price_level"),
        F.least(F.coalesce(F.try_divide(F.sum(promoted), F.sum("paid")), F.lit(0.0)), F.lit(1.0)).alias(
            "promotion_share"
        ),
    )
