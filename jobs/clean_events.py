"""Event records into clean events and rejected ones, with the reasons; rows in = rows kept + rows rejected."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs import launch, ledger
from jobs.conf import Deployment
from jobs.ledger import REPEATED
from jobs.mapping import all_reasons, canonical
from schemas import silver

DUPLICATE = "duplicate of an earlier record"
IDENTITY = ("event_id", "event_date")


def clean_events(
    bronze_events: DataFrame,
    bronze_files: DataFrame,
    items: DataFrame,
    rejected_items: DataFrame,
    events: DataFrame,
    *,
    deployment: Deployment,
    max_rejected_share: float = 0.5,
) -> dict[str, DataFrame]:
    """silver.events and silver.rejected_events, each record in the partition of its file; silver.cleaned_days.

    A record is rejected when it cannot be read, breaks the contract or a rule of the deployment, names an item that
    is not in silver.items, or repeats the event_id of another record of that day (sound records first, then by file
    and line), or of a sound record of an earlier day's files with the same event_date. Without an event_id in the log,
    a hash of the record is one: exact duplicates share it. A day of which more than `max_rejected_share` would be
    rejected is refused, and the night with it.
    """
    table = silver.EVENTS
    mapped = canonical(bronze_events, deployment.sources["events"], table)
    own_id = F.col("event_id") if "event_id" in mapped.columns else F.lit(None).cast("string")
    mapped = mapped.withColumn("event_id", F.coalesce(own_id, F.md5("raw")))
    absent = [name for name in table.column_names if name not in (*mapped.columns, "event_date")]
    complete = mapped.select(
        "*",
        F.to_date("occurred_at").alias("event_date"),
        *(F.lit(None).cast(table.column(name).type).alias(name) for name in absent),
    )
    known = _with_item_verdict(complete, items, rejected_items)
    # Without a moment there is no date either: that is one fault, not two.
    dated = known.withColumn("event_date", F.coalesce("event_date", "run_date"))
    judged = dated.withColumn("reasons", F.concat(all_reasons(table, table.column_names), "_item_reasons"))
    order = Window.partitionBy("run_date", "event_id").orderBy(
        (F.size("reasons") > 0).cast("int"), "source_file", "source_row"
    )
    repeated: Column = F.when(F.row_number().over(order) > 1, F.array(F.lit(DUPLICATE))).otherwise(F.array())
    of_the_day = judged.withColumn("reasons", F.concat("reasons", repeated)).persist()
    final = _without_repeats(of_the_day, events)
    return {
        "silver.events": final.where("size(reasons) = 0").select(*table.column_names),
        "silver.rejected_events": final.where("size(reasons) > 0").select(*silver.REJECTED_EVENTS.column_names),
        "silver.cleaned_days": _cleaned_days(bronze_events, bronze_files, final, max_rejected_share),
    }


def _without_repeats(judged: DataFrame, events: DataFrame) -> DataFrame:
    """The same; a sound late record that stands among the sound ones of an earlier day's files is no longer sound.

    A record that is not late cannot repeat one of an earlier day, whose files hold nothing from later. So what is read
    of `events` begins with the day of the oldest late record, and is nothing where there is none.
    """
    sound = judged.where("size(reasons) = 0").select(*IDENTITY, "run_date")
    late = sound.where("event_date < run_date")
    oldest = late.agg(F.min("event_date").alias("day")).collect()[0]["day"]
    if oldest is None:
        return judged
    own_days = judged.select("run_date").distinct()
    elsewhere = events.where(F.col("run_date") >= F.lit(oldest)).join(own_days, "run_date", "left_anti")
    wanted = late.select(*IDENTITY).distinct()
    first = sound.unionByName(elsewhere.select(*IDENTITY, "run_date")).join(wanted, list(IDENTITY), "left_semi")
    first = first.groupBy(*IDENTITY).agg(F.min("run_date").alias("_first"))
    again = (F.size("reasons") == 0) & (F.col("_first") < F.col("run_date"))
    return (
        judged.join(first, list(IDENTITY), "left")
        .withColumn("reasons", F.when(again, F.array(F.lit(REPEATED))).otherwise(F.col("reasons")))
        .drop("_first")
        .persist()
    )


def _cleaned_days(bronze_events: DataFrame, bronze_files: DataFrame, judged: DataFrame, share: float) -> DataFrame:
    """Rows of silver.cleaned_days: one for each day that has files."""
    rows_in = bronze_events.groupBy("run_date").agg(F.count("*").alias("rows_in"))
    split = judged.groupBy("run_date").agg(
        F.count_if(F.size("reasons") == 0).alias("rows_kept"), F.count_if(F.size("reasons") > 0).alias("rows_rejected")
    )
    by_reason = judged.select("run_date", F.explode("reasons").alias("reason")).groupBy("run_date", "reason").count()
    reasons = by_reason.groupBy("run_date").agg(
        F.map_from_entries(F.collect_list(F.struct("reason", "count"))).alias("r")
    )
    counts = ("rows_in", "rows_kept", "rows_rejected")
    days = ledger.fingerprints(bronze_files)
    for found in (rows_in, split, reasons):
        days = days.join(found, "run_date", "left")
    return days.select(
        "run_date",
        "fingerprint",
        *(F.coalesce(name, F.lit(0)).cast("bigint").alias(name) for name in counts),
        F.coalesce("r", F.create_map().cast("map<string,bigint>")).alias("reasons"),
        F.lit(share).alias("max_rejected_share"),
    )


def _with_item_verdict(events: DataFrame, items: DataFrame, rejected_items: DataFrame) -> DataFrame:
    """`_item_reasons`: empty where the item is sound, else why it is not one."""
    refused = (
        rejected_items.where("item_id IS NOT NULL")
        .join(items, "item_id", "left_anti")
        .groupBy("item_id")
        .agg(F.min(F.array_join("reasons", ", ")).alias("_why"))
    )
    verdicts = (
        items.select("item_id", F.lit(None).cast("string").alias("_why"))
        .unionByName(refused)
        .withColumn("_listed", F.lit(True))
    )
    reason = (
        F.when(F.col("item_id").isNull(), F.array())
        .when(F.col("_listed").isNull(), F.array(F.lit("item_id is not in the catalogue")))
        .when(F.col("_why").isNotNull(), F.array(F.concat(F.lit("item: "), "_why")))
        .otherwise(F.array())
        .cast("array<string>")
    )
    joined = events.join(verdicts, "item_id", "left")
    return joined.withColumn("_item_reasons", reason).drop("_why", "_listed")


if __name__ == "__main__":
    launch.main("clean_events")
