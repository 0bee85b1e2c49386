"""What to recommend to a user in one of their stores, or on one of their weekdays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.offer import few_variants, offered
from jobs.transforms.purchases import buyer, purchases, within
from jobs.transforms.top_n import top_n
from schemas import users
from schemas.errors import ConfError
from schemas.run import RunContext

SOLD_DAYS = 56  # what a location has not sold for so long is in none of its lists
SEEN_DAYS = 364
WEEKDAY_DAYS = 91  # of purchases that say what is bought on which weekday
WEIGHT = 0.5  # of a context's log lift in the score's log odds: part of it is in the user's own history already
PRIOR_BUYERS = 10.0  # of an item in a context, as elsewhere
FEWEST_SHOWN = 10  # buyers: a smaller number in a reason would show what a few of them buy
EDGE = 1e-6  # a probability is never 0 nor 1
CONTEXT = ("context_name", "context_value")


def recommend_in_context(
    events: DataFrame,
    items: DataFrame,
    candidates: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    *,
    run: RunContext,
    top_k: int = 10,
    locations: int = 3,
    weekdays: int = 2,
) -> DataFrame:
    """gold.context_recommendations: `top_k` candidates of a user for each context that the user was seen in.

    Contexts are the user's `locations` and `weekdays` with most purchase days in a year. Lists of a location have only
    items that it sold in the last SOLD_DAYS days or, where the lists of the deployment heed stock, has on hand. The log
    odds of a candidate's score are moved by WEIGHT times the logarithm of how much more often the item is bought in
    the context than elsewhere. A list is shorter where the user has fewer candidates that may be shown.
    """
    if top_k < 1 or min(locations, weekdays) < 0:
        raise ConfError(
            "[jobs.recommend_in_context] top_k must be at least 1, locations and weekdays at least 0; "
            f"they are {top_k}, {locations} and {weekdays}"
        )
    bought = within(purchases(events, run.deployment), run.run_date, SEEN_DAYS)
    columns = ("event_date", "item_id", "user_id", "location_id")
    each = _in_contexts(bought.select(*columns, F.xxhash64(buyer()).alias("buyer")).transform(held))
    cells = _cells(each, run.run_date)
    if run.deployment.lists.in_stock and run.deployment.of_kind("stock"):
        cells = _with_stock(cells, stock)
    seen = _seen(each, {"location": locations, "weekday": weekdays})
    may_be_shown = offered(run.deployment, items, stock, blocked, run.run_date)
    offer = candidates.join(may_be_shown.drop("run_date", "score"), "item_id", "inner")
    joined = offer.join(seen, "user_id", "inner").join(cells, [*CONTEXT, "item_id"], "left")
    joined = joined.where((F.col("context_name") != "location") | F.col("known"))
    scored = joined.withColumn("score", _moved(F.col("score"), F.coalesce("lift", F.lit(0.0))))
    per, order = ["user_id", *CONTEXT], [F.desc("score"), F.col("item_id")]
    few = few_variants(scored, per, order, run.deployment.variants.per_list)
    ranked = top_n(few, per, order, top_k, rank="rank")
    return ranked.withColumns({"run_date": F.lit(run.run_date), "reason": _reason()}).select(
        *users.CONTEXT_RECOMMENDATIONS.column_names
    )


def _in_contexts(lines: DataFrame) -> DataFrame:
    """The purchases with CONTEXT, once for each context that they were made in."""
    values = {"location": F.col("location_id"), "weekday": F.date_format("event_date", "EEEE")}
    structs = (F.struct(F.lit(name).alias(CONTEXT[0]), value.alias(CONTEXT[1])) for name, value in values.items())
    each = lines.select("event_date", "item_id", "user_id", "buyer", F.explode(F.array(*structs)).alias("of"))
    return each.select("event_date", "item_id", "user_id", "buyer", "of.*").where("context_value IS NOT NULL")


def _seen(each: DataFrame, most: Mapping[str, int]) -> DataFrame:
    """user_id and CONTEXT: the values of each context, `most` of it, on which a known user has most purchase days."""
    days = each.where(F.col("user_id").isNotNull()).groupBy("user_id", *CONTEXT)
    counted = days.agg(F.count_distinct("event_date").alias("days"))
    ranked = top_n(counted, ["user_id", CONTEXT[0]], [F.desc("days"), CONTEXT[1]], max(most.values()), rank="place")
    few = F.coalesce(*(F.when(F.col(CONTEXT[0]) == name, F.lit(number)) for name, number in most.items()))
    return ranked.where(F.col("place") <= few).select("user_id", *CONTEXT)


def _cells(each: DataFrame, run_date: dt.date) -> DataFrame:
    """CONTEXT, item_id, buyers, known (true), and lift: the logarithm of buyers over those expected, drawn to 0."""
    days = F.when(F.col(CONTEXT[0]) == "location", SOLD_DAYS).otherwise(WEEKDAY_DAYS)
    lately = each.where(F.datediff(F.lit(run_date), "event_date") < days)
    counts = lately.groupBy(*CONTEXT, "item_id").agg(F.count_distinct("buyer").alias("buyers"))
    by = {
        "item_buyers": [CONTEXT[0], "item_id"],
        "context_buyers": list(CONTEXT),
        "all_buyers": [CONTEXT[0]],
    }
    shares = counts.withColumns({name: F.sum("buyers").over(Window.partitionBy(*of)) for name, of in by.items()})
    expected = F.col("item_buyers") * F.col("context_buyers") / F.col("all_buyers")
    lift = F.log((F.col("buyers") + PRIOR_BUYERS) / (expected + PRIOR_BUYERS))
    return shares.select(*CONTEXT, "item_id", "buyers", lift.alias("lift"), F.lit(True).alias("known"))


def _with_stock(cells: DataFrame, stock: DataFrame) -> DataFrame:
    """With the items that a location has on hand and did not sell; they are as likely there as elsewhere."""
    there = stock.where("on_hand > 0").select(
        F.lit("location").alias(CONTEXT[0]), F.col("location_id").alias(CONTEXT[1]), "item_id"
    )
    both = cells.drop("known").join(there.distinct(), [*CONTEXT, "item_id"], "full")
    return both.withColumn("known", F.lit(True))


def _moved(score: Column, lift: Column) -> Column:
    inside = F.least(F.greatest(score, F.lit(EDGE)), F.lit(1 - EDGE))
    return 1 / (1 + F.exp(-(F.log(inside / (1 - inside)) + WEIGHT * lift)))


def _reason() -> Column:
    counted = F.format_string(f"%d bought it here in the last {SOLD_DAYS} days", "buyers")
    here = F.when(F.col("buyers") >= FEWEST_SHOWN, counted).otherwise(F.lit(f"Sold here in the last {SOLD_DAYS} days"))
    in_stock = F.lit("It is in stock here")
    on_day = F.format_string(f"Bought by %d on a %s in the last {WEEKDAY_DAYS} days", "buyers", "context_value")
    plain = F.concat(F.lit("Suits you on a "), "context_value")
    day = F.when(F.col("buyers") >= FEWEST_SHOWN, on_day).otherwise(plain)
    located = F.when(F.col("buyers").isNull(), in_stock).otherwise(here)
    return F.when(F.col("context_name") == "location", located).otherwise(day)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("recommend_in_context")
