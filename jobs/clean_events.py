"""Event records into clean events and rejected ones, with the reasons; rows in = rows kept + rows rejected."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs import launch
from jobs.conf import Deployment
from jobs.mapping import all_reasons, canonical
from schemas import silver

DUPLICATE = "duplicate of an earlier record"


def clean_events(
    bronze_events: DataFrame, items: DataFrame, rejected_items: DataFrame, *, deployment: Deployment
) -> dict[str, DataFrame]:
    """silver.events and silver.rejected_events, each record in the partition of its file.

    A record is rejected when it cannot be read, breaks the contract or a rule of the deployment, names an item that
    is not in silver.items, or repeats the event_id of another record of that day (sound records first, then by file
    and line). Without an event_id in the log, a hash of the record is one: exact duplicates share it.
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
    final = judged.withColumn("reasons", F.concat("reasons", repeated)).persist()
    return {
        "silver.events": final.where("size(reasons) = 0").select(*table.column_names),
        "silver.rejected_events": final.where("size(reasons) > 0").select(*silver.REJECTED_EVENTS.column_names),
    }


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
