"""Edges of features.relations that purchases give: bought together, after and instead, counted over all buyers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.purchases import buyer
from jobs.transforms.top_n import top_n
from udfs.relations.entities import COLUMNS

BASKET_LINES = 50  # items of a basket that are paired; of a larger one a draw by hash
BUYER_BASKETS = 200  # newest baskets of a buyer: a till or a bot has more
CHANGED = 20  # items of one day that are paired with those of the time before
Z = 3.0  # standard errors between a lift and its lower end
FEWEST_CHANGED = 2  # buyers who changed from one item to another


@dataclass(frozen=True)
class Counting:
    """`min_buyers`: buyers behind a lift at least; `per_item`: edges of a relation and an item at most."""

    min_buyers: int
    per_item: int = 50


def is_due(past: DataFrame, run_date: dt.date) -> bool:
    """Whether purchases are counted anew: on Sundays, where one has passed since `past`, or where there are none.

    past: edges of purchases in the newest features.relations.
    """
    newest = past.select("run_date").first()
    last_sunday = run_date - dt.timedelta(days=run_date.isoweekday() % 7)
    return newest is None or last_sunday == run_date or newest["run_date"] < last_sunday


def between(edges: DataFrame, items: DataFrame) -> DataFrame:
    """The edges between two items of silver.items."""
    for end in ("subject", "object"):
        edges = edges.join(items.select(F.col("item_id").alias(end)), end, "left_semi")
    return edges.select(*COLUMNS)


def counted(lines: DataFrame, counts: DataFrame, how: Counting) -> DataFrame:
    """Edges of all three relations of purchases; counts: `buyers_of`."""
    found = bought_with(lines, counts, how).unionByName(bought_after(lines, how))
    return found.unionByName(instead_of(lines, how))


def basket_lines(bought: DataFrame, needs: DataFrame) -> DataFrame:
    """buyer, basket, event_date, item_id, need (null for none): what is counted, each item of a basket once. Held.

    bought: `purchases`; needs: item_id, need. At most BUYER_BASKETS baskets a buyer with BASKET_LINES items each: what
    is counted grows with the lines, not with the square of a basket.
    """
    keyed = bought.select(
        F.xxhash64(buyer()).alias("buyer"), F.xxhash64("basket_id").alias("basket"), "event_date", "item_id"
    )
    lines = (
        keyed.distinct().join(needs.select("item_id", "need"), "item_id", "inner").repartition("buyer")
    )  # what follows needs no exchange
    drawn = Window.partitionBy("buyer", "basket").orderBy(F.xxhash64("basket", "item_id"), "item_id")
    newest = Window.partitionBy("buyer").orderBy(F.desc("event_date"), "basket")
    few = lines.withColumn("_line", F.row_number().over(drawn)).where(F.col("_line") <= BASKET_LINES)
    late = few.withColumn("_basket", F.dense_rank().over(newest)).where(F.col("_basket") <= BUYER_BASKETS)
    return held(late.drop("_line", "_basket"))


def buyers_of(lines: DataFrame) -> DataFrame:
    """item_id, buyers, baskets. Held."""
    counts = [F.count_distinct("buyer").alias("buyers"), F.count("*").alias("baskets")]
    return held(lines.groupBy("item_id").agg(*counts))


def bought_with(lines: DataFrame, counts: DataFrame, how: Counting) -> DataFrame:
    """Edges between items that are in one basket more than chance explains, in both directions.

    Chance: baskets as large as they are, filled in proportion to the items' baskets. The lift is the baskets with both
    over those that chance explains; its lower end is Z standard errors of its logarithm lower, one error being
    1 / sqrt(buyers): baskets of one buyer are no independent observations.
    """
    frequent = lines.join(counts.where(F.col("buyers") >= how.min_buyers).select("item_id"), "item_id", "left_semi")
    left, right = (frequent.select("buyer", "basket", F.col("item_id").alias(name)) for name in ("subject", "object"))
    both = left.join(right, ["buyer", "basket"], "inner").where("subject < object")
    pairs = _by_buyers(both, how)
    sizes = lines.groupBy("buyer", "basket").agg(F.count("*").alias("size"))
    chance = sizes.agg((F.sum(F.col("size") * (F.col("size") - 1)) / F.pow(F.sum("size"), F.lit(2))).alias("chance"))
    alone = counts.select("item_id", "baskets")
    one = _significant(pairs, alone, alone, chance, "bought_with")
    other = one.withColumns({"subject": F.col("object"), "object": F.col("subject")})
    return _strongest(one.unionByName(other), how)


def bought_after(lines: DataFrame, how: Counting) -> DataFrame:
    """Edges from an item to what its buyers first buy on their next day, more than chance explains.

    Only a buyer's first purchase of an item counts, so that habits are no sequence. Chance and lift as in
    `bought_with`, over pairs of a buyer's days one after the other.
    """
    first = lines.groupBy("buyer", "item_id").agg(F.min("event_date").alias("event_date"))
    steps = _steps(first, ["buyer"])
    sizes = [F.size(name).cast("double").alias(name) for name in ("before", "after")]
    sums = steps.select(*sizes).agg(
        (F.sum(F.col("before") * F.col("after")) / (F.sum("before") * F.sum("after"))).alias("chance")
    )
    pairs = _by_buyers(_pairs(steps, ["buyer"]), how)
    counts = {
        name: steps.select(F.explode(name).alias("item_id")).groupBy("item_id").agg(F.count("*").alias("baskets"))
        for name in ("before", "after")
    }
    return _strongest(_significant(pairs, counts["before"], counts["after"], sums, "bought_after"), how)


def instead_of(lines: DataFrame, how: Counting) -> DataFrame:
    """Edges from an item to those of its need that its buyers turned to: on a day of purchases of the need without the
    item, where they had bought the item and not the other the time before.

    support: buyers who did so; weight: their share of all changes from the item, each buyer and object counted once.
    """
    of_need = lines.where("need IS NOT NULL")
    steps = _steps(of_need, ["buyer", "need"])
    changed = steps.withColumns(
        {"before": F.array_except("before", "after"), "after": F.array_except("after", "before")}
    )
    pairs = _pairs(changed, ["buyer"]).distinct().groupBy("subject", "object").agg(F.count("*").alias("support"))
    share = F.col("support") / F.sum("support").over(Window.partitionBy("subject"))
    edges = pairs.withColumn("weight", share).where(F.col("support") >= FEWEST_CHANGED)
    return _strongest(_edge(edges, "instead_of"), how)


def _steps(lines: DataFrame, per: list[str]) -> DataFrame:
    """`per`, before, after: the items of each day and those of the day before it on which there were any."""
    items = F.slice(F.array_sort(F.collect_set("item_id")), 1, CHANGED).alias("after")
    days = lines.groupBy(*per, "event_date").agg(items)
    before = F.lag("after").over(Window.partitionBy(*per).orderBy("event_date"))
    return days.withColumn("before", before).where("before IS NOT NULL").select(*per, "before", "after")


def _pairs(steps: DataFrame, per: list[str]) -> DataFrame:
    exploded = steps.select(*per, F.explode("before").alias("subject"), "after")
    return exploded.select(*per, "subject", F.explode("after").alias("object")).where("subject <> object")


def _by_buyers(pairs: DataFrame, how: Counting) -> DataFrame:
    """subject, object, support (buyers), times; of enough buyers alone. `pairs` is partitioned by buyer."""
    of_buyer = pairs.groupBy("buyer", "subject", "object").agg(F.count("*").alias("times"))
    counted = of_buyer.groupBy("subject", "object").agg(F.count("*").alias("support"), F.sum("times").alias("times"))
    return counted.where(F.col("support") >= how.min_buyers)


def _significant(pairs: DataFrame, subjects: DataFrame, objects: DataFrame, chance: DataFrame, name: str) -> DataFrame:
    """COLUMNS of pairs whose lift is above 1 beyond chance; subjects, objects: item_id, baskets."""
    joined = (
        pairs.join(subjects.toDF("subject", "_subject"), "subject", "inner")
        .join(objects.toDF("object", "_object"), "object", "inner")
        .crossJoin(chance)
    )
    lift = F.col("times") / (F.col("_subject") * F.col("_object") * F.col("chance"))
    lower = lift * F.exp(-F.lit(Z) / F.sqrt("support"))
    return _edge(joined.withColumn("weight", lower).where("weight > 1"), name)


def _edge(pairs: DataFrame, name: str) -> DataFrame:
    of_edge: dict[str, Column] = {"relation": F.lit(name), "source": F.lit("purchases")}
    return pairs.withColumns(of_edge).select(*COLUMNS)


def _strongest(edges: DataFrame, how: Counting) -> DataFrame:
    return top_n(edges, ["subject"], [F.desc("weight"), F.desc("support"), "object"], how.per_item)
