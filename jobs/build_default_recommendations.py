"""Lists for users never seen: overall, and for each value of a segment such as the store."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms import catalogue
from jobs.transforms.counted_buyers import counted_lines
from jobs.transforms.held import held
from jobs.transforms.offer import PRODUCT, few_variants, offered
from jobs.transforms.purchases import buyer, purchases, within
from jobs.transforms.top_n import top_n
from schemas import gold
from schemas.errors import ConfError
from schemas.run import RunContext

SEGMENT = ("segment_name", "segment_value")


def build_default_recommendations(
    events: DataFrame,
    items: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    suspects: DataFrame,
    *,
    run: RunContext,
    segment: str = "",
    top_k: int = 20,
    days: int = 28,
    min_buyers: int = 10,
) -> DataFrame:
    """gold.default_recommendations: the `top_k` items with most buyers on the last `days` days, overall and per
    value of `segment` (a column of silver.events; empty for none), of those that may be shown
    (jobs/transforms/offer.py). Of a product's variants the ones with most buyers in the segment are in its list.

    A segment with too few items of its own is filled from the overall list, and the reason says so. One with fewer
    than `min_buyers` different known users in these days gets the overall list alone: its own would show
    every visitor what a few households buy.
    """
    if min_buyers < 0:
        raise ConfError(f"[jobs.build_default_recommendations] min_buyers must be at least 0; it is {min_buyers}")
    listed = catalogue.listed(run.deployment, items, events)
    offer = offered(run.deployment, listed, stock, blocked, run.run_date)
    product = [name for name in offer.columns if name == PRODUCT]
    flags = offer.select("item_id", F.lit(True).alias("offered"), *product)
    sold = purchases(events, run.deployment).join(listed.select("item_id"), "item_id", "left_semi")
    sold = counted_lines(sold, suspects, run)
    if segment:
        sold = counted_lines(sold, suspects, run, ("item_id", segment))
    ever = sold.join(flags, "item_id", "left")
    recent = within(ever, run.run_date, days)
    lately, when = (recent, f"on the last {days} days") if recent.where("offered").take(1) else (ever, "so far")
    met = _met(lately, segment, ["offered", *product]).transform(held)
    keys = list(SEGMENT)
    sizes = met.groupBy(*keys).agg(
        F.count_distinct("buyer").alias("all_buyers"), F.count_distinct("buyer.user_id").alias("known_buyers")
    )
    shown = sizes.where((F.col("segment_name") == "overall") | (F.col("known_buyers") >= min_buyers))
    counts = met.where("offered").groupBy(*keys, "item_id", *product).agg(F.count("*").alias("buyers"))
    sellers = counts.join(shown, keys, "inner").select(
        *keys,
        "item_id",
        *product,
        F.round(F.col("buyers") / F.col("all_buyers"), 6).alias("score"),
        F.format_string(f"Bought by %d of %d buyers here {when}", "buyers", "all_buyers").alias("reason"),
        F.lit(0).alias("filled"),
    )
    per_list = run.deployment.variants.per_list
    own = few_variants(sellers, keys, [F.desc("score"), "item_id"], per_list)
    best = top_n(own.where("segment_name = 'overall'"), keys, [F.desc("score"), "item_id"], 2 * top_k)
    filler = _filler(sizes.where("segment_name <> 'overall'").select(*keys), best, own)
    order: list[Column | str] = ["filled", F.desc("score"), "item_id"]
    ranked = top_n(few_variants(own.unionByName(filler), keys, order, per_list), keys, order, top_k, rank="rank")
    return ranked.withColumn("run_date", F.lit(run.run_date)).select(*gold.DEFAULT_RECOMMENDATIONS.column_names)


def _met(lately: DataFrame, segment: str, more: list[str]) -> DataFrame:
    """SEGMENT, item_id, buyer and `more` of purchases, each once: overall, and by the values of `segment`."""
    overall = [F.lit("overall").alias("segment_name"), F.lit("all").alias("segment_value")]
    groups = [lately.select(*overall, "item_id", *more, buyer())]
    if segment:
        named = lately.where(F.col(segment).isNotNull())
        value = F.col(segment).cast("string").alias("segment_value")
        groups.append(named.select(F.lit(segment).alias("segment_name"), value, "item_id", *more, buyer()))
    return groups[0].unionByName(groups[-1]).distinct()


def _filler(segments: DataFrame, best: DataFrame, own: DataFrame) -> DataFrame:
    """The best items overall for each segment, but for those that it has of its own."""
    overall = best.withColumnRenamed("score", "overall").drop(*SEGMENT, "reason", "filled")
    open_places = segments.crossJoin(F.broadcast(overall)).join(
        own.select(*SEGMENT, "item_id"), [*SEGMENT, "item_id"], "left_anti"
    )
    return open_places.withColumnRenamed("overall", "score").withColumns(
        {"reason": F.lit("Popular in the whole shop; fills up the list"), "filled": F.lit(1)}
    )


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("build_default_recommendations")
