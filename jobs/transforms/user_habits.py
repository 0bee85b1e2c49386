"""What users buy, where and at which prices: shares of spend by category and brand, the favourite location."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.top_n import top_n

MOST = 10  # categories and brands of a user
PROMOTED = 0.9  # of the item's median price: what costs less was on offer
KINDS = ("category", "brand")
LISTS = (("category", "affinities"), ("brand", "brands"))


def user_lines(bought: DataFrame, items: DataFrame) -> DataFrame:
    """The rows of `purchases` of known users with what was paid and the item's category and brand.

    Columns are those that profiles read; of basket_id it has 64 bits, which count baskets. items: silver.items or, of a
    deployment without a catalogue, no row.
    """
    columns = ("user_id", "item_id", "event_date", "run_date", "location_id", "quantity", "unit_price")
    known = bought.where("user_id IS NOT NULL").select(
        *columns,
        F.xxhash64("basket_id").alias("basket_id"),
        (F.col("quantity").cast("double") * F.col("unit_price")).alias("paid"),
    )
    return known.join(items.select("item_id", "category", "brand"), "item_id", "left")


def user_habits(lines: DataFrame, items: DataFrame, candidates: DataFrame) -> DataFrame:
    """user_id, affinities, brands, favourite_location, price_level and promotion_share.

    lines: `user_lines`; items: as there; candidates: features.candidates of the run, or none. Categories and brands of
    items that have left the catalogue do not count.
    """
    keys = F.array(*(F.struct(F.lit(kind).alias("kind"), F.col(kind).alias("key")) for kind in KINDS))
    spent = lines.groupBy("user_id", *KINDS).agg(F.sum("paid").alias("paid"))
    keyed = spent.select("user_id", "paid", F.explode(keys).alias("of")).where("of.key IS NOT NULL")
    habits = keyed.groupBy("user_id", F.col("of.kind").alias("kind"), F.col("of.key").alias("key")).agg(
        F.sum("paid").alias("paid")
    )
    own, kind = Window.partitionBy("user_id", "kind"), Window.partitionBy("kind")
    shares = habits.groupBy("kind", "key").agg(F.sum("paid").alias("shop_paid"))
    usual = shares.select("kind", "key", (F.col("shop_paid") / F.sum("shop_paid").over(kind)).alias("usual"))
    first = top_n(
        habits.withColumn("share", F.try_divide(F.col("paid"), F.sum("paid").over(own))),
        ["user_id", "kind"],
        [F.desc("share"), "key"],
        MOST,
        rank="place",
    )
    known = first.join(usual, ["kind", "key"], "inner").withColumn("lift", F.try_divide("share", "usual"))
    ahead = known.join(_next_28(candidates, items), ["user_id", "kind", "key"], "left")
    gathered = ahead.groupBy("user_id").agg(_listed("category", "p_next_28"), _listed("brand"))
    return (
        _prices(lines)
        .join(gathered, "user_id", "left")
        .join(_favourites(lines), "user_id", "left")
        .select(
            "user_id",
            *(F.coalesce(of, F.array().cast(gathered.schema[of].dataType)).alias(name) for of, name in LISTS),
            "favourite_location",
            "price_level",
            "promotion_share",
        )
    )


def _listed(kind: str, *more: str) -> Column:
    """The user's keys of a kind as structs, greatest share first; an empty array without any."""
    fields: list[Column | str] = [F.col("key").alias(kind), "share", "lift", *more]
    entry = F.when(F.col("kind") == kind, F.struct("place", F.struct(*fields).alias("entry")))
    return F.transform(F.sort_array(F.collect_list(entry)), lambda each: each["entry"]).alias(kind)


def _favourites(lines: DataFrame) -> DataFrame:
    """user_id, favourite_location: the location of most purchase days."""
    days = lines.where("location_id IS NOT NULL").select("user_id", "location_id", "event_date").distinct()
    counts = days.groupBy("user_id", "location_id").agg(F.count("*").alias("days"))
    favourite = F.max_by("location_id", F.struct("days", "location_id"))
    return counts.groupBy("user_id").agg(favourite.alias("favourite_location"))


def _next_28(candidates: DataFrame, items: DataFrame) -> DataFrame:
    """user_id, kind, key, p_next_28: probability to buy any of the user's candidates of a category."""
    of_category = candidates.join(items.select("item_id", "category"), "item_id", "inner").where("category IS NOT NULL")
    none = F.sum(F.log1p(-F.least("score", F.lit(1 - 1e-9))))
    return of_category.groupBy("user_id", F.lit("category").alias("kind"), F.col("category").alias("key")).agg(
        (-F.expm1(none)).alias("p_next_28")
    )


def _prices(lines: DataFrame) -> DataFrame:
    """user_id, price_level, promotion_share by the items' mean and median prices over everybody."""
    units = F.col("quantity").cast("double")
    usual = lines.groupBy("item_id").agg(
        (F.sum("paid") / F.sum(units)).alias("mean_price"), F.median("unit_price").alias("median_price")
    )
    columns = ("user_id", "item_id", "unit_price", "paid")
    priced = lines.select(*columns, units.alias("units")).join(usual, "item_id", "inner")
    promoted = F.when(F.col("unit_price") < PROMOTED * F.col("median_price"), F.col("paid")).otherwise(0.0)
    usually = F.sum(F.col("units") * F.col("mean_price"))
    return priced.groupBy("user_id").agg(
        F.try_divide(F.sum("paid"), usually).alias("price_level"),
        F.least(F.coalesce(F.try_divide(F.sum(promoted), F.sum("paid")), F.lit(0.0)), F.lit(1.0)).alias(
            "promotion_share"
        ),
    )
