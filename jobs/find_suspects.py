"""Users who act as no person does: too fast, too often, or as many others do."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.purchases import basket, within
from schemas import suspects as contract
from schemas.derive import plain_ddl
from schemas.run import RunContext
from schemas.suspects import RULES

DAYS = 28  # that decide
ITEMS_ALIKE = 3  # of a basket, at least, that is compared with others'
MOSTLY = 0.5


def find_suspects(events: DataFrame, suspects: DataFrame, *, run: RunContext) -> DataFrame:
    """silver.suspects: users at or above a limit of [suspects] in the last DAYS days; no row before its `since`.

    Suspects stay in every table; counts of buyers leave out those marked by `acts` (jobs/transforms/counted_buyers.py).
    An event at the first moment of a day is not counted by the minute: its log may have days alone.
    """
    conf = run.deployment.suspects
    if not conf.named_on(run.run_date):
        return events.sparkSession.createDataFrame([], plain_ddl(contract.SUSPECTS))
    acts = within(events, run.run_date, DAYS).where("user_id IS NOT NULL").withColumn("basket_id", basket())
    limits = (conf.acts_a_minute, conf.baskets_a_day, MOSTLY)
    figures = (_acts_a_minute(acts, run), _baskets_a_day(acts), _same_baskets(acts, conf.same_basket_users))
    found = acts.select("user_id").distinct()
    for figure in figures:
        found = found.join(figure, "user_id", "left")
    figured = zip(RULES, limits, strict=True)
    over = [F.coalesce(F.col(name), F.lit(0.0)) / F.lit(float(limit)) for name, limit in figured]
    scored = found.withColumn("score", F.greatest(*over)).where("score >= 1")
    named = [F.when(ratio >= 1, F.lit(rule)) for ratio, rule in zip(over, RULES, strict=True)]
    before = suspects.select("user_id", "since")
    is_trusted = F.col("user_id").isin(*conf.trusted) if conf.trusted else F.lit(False)
    return scored.join(before, "user_id", "left").select(
        F.lit(run.run_date).alias("run_date"),
        "user_id",
        F.array_compact(F.array(*named)).alias("rules"),
        "score",
        F.coalesce("since", F.lit(run.run_date)).alias("since"),
        (F.lit(conf.act_on(run.run_date)) & ~is_trusted).alias("acts"),
    )


def _acts_a_minute(acts: DataFrame, run: RunContext) -> DataFrame:
    """user_id, acts_a_minute: most baskets and other events in one minute."""
    is_line = F.col("event_type").isin("purchase", "return")
    what = F.when(is_line, F.col("basket_id")).otherwise(F.col("event_id"))
    clock = run.deployment.clock
    local = F.unix_seconds(F.from_utc_timestamp("occurred_at", clock.timezone)) - F.lit(clock.end_minutes * 60)
    timed = acts.where(F.pmod(local, F.lit(86_400)) != 0)
    by_minute = timed.groupBy("user_id", F.date_trunc("minute", "occurred_at").alias("minute"))
    return _most(by_minute.agg(F.count_distinct(what).alias("count")), RULES[0])


def _baskets_a_day(acts: DataFrame) -> DataFrame:
    """user_id, baskets_a_day: most baskets on one day."""
    bought = acts.where("event_type = 'purchase'")
    return _most(bought.groupBy("user_id", "event_date").agg(F.count_distinct("basket_id").alias("count")), RULES[1])


def _most(counts: DataFrame, name: str) -> DataFrame:
    return counts.groupBy("user_id").agg(F.max("count").cast("double").alias(name))


def _same_baskets(acts: DataFrame, others: int) -> DataFrame:
    """user_id, same_baskets: share of the user's baskets of ITEMS_ALIKE items and more that so many others have too."""
    bought = acts.where("event_type = 'purchase'")
    items: Column = F.sort_array(F.collect_set("item_id"))
    baskets = bought.groupBy("user_id", "basket_id").agg(items.alias("items")).where(F.size("items") >= ITEMS_ALIKE)
    signed = baskets.select("user_id", F.xxhash64("items").alias("basket"))
    shared = signed.groupBy("basket").agg(F.count_distinct("user_id").alias("users"))
    is_shared = F.avg((F.col("users") > others).cast("double"))
    return signed.join(shared, "basket").groupBy("user_id").agg(is_shared.alias(RULES[2]))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("find_suspects")
