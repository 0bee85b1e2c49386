"""Each location's newest stock snapshot into one row per location and item, and rejected records, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.catalogue import catalogue_of, with_item_verdict
from jobs.transforms.deduplicate import without_overlaps
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, completed, mapped
from jobs.transforms.reasons import has_code, rejected, sound
from schemas import silver
from schemas.reason_codes import STOCK_OVERLAPS, not_converted
from schemas.run import RunContext


def clean_stock(
    bronze_stock: DataFrame,
    items: DataFrame,
    rejected_items: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """silver.stock: what each location has of each item, by its newest day of stock files; silver.rejected_stock.

    The newest day of files and the six before it are read: a store whose file is late keeps its last snapshot, while
    the other stores' newer ones count. Of a location with sound records of several days the newest day is the complete
    snapshot: items that it lacks are no longer in stock.
    A record is rejected when it cannot be read, breaks the contract (no negative stock) or a rule of the deployment,
    names an item that is not in silver.items, or when snapshots overlap: of several sound records about one location
    and item the one with the newest snapshot_date counts, then the first by file and line. Without a snapshot_date, a
    file describes the evening of its own day; without on_order, nothing is on order.
    """
    table = silver.STOCK
    canonical = completed(mapped(bronze_stock, run.deployment, "stock"), table, table.column_names)
    unread = has_code("broken", not_converted(table, "on_order").code)
    catalogue = catalogue_of(run.deployment, items, rejected_items)
    defaults = {
        "snapshot_date": F.coalesce("snapshot_date", "run_date"),
        "on_order": F.when(unread, F.col("on_order")).otherwise(F.coalesce("on_order", F.lit(0))),
    }
    judged = with_item_verdict(canonical.withColumns(defaults), catalogue).withColumn(
        "reasons", F.concat(all_reasons(table, table.column_names), "_item_reasons")
    )
    newest_first = (F.desc("snapshot_date"), "source_file", "source_row")
    final = without_overlaps(_newest_of_location(judged), table.key, newest_first, STOCK_OVERLAPS)
    final = final.withColumn("run_date", F.lit(run.run_date)).transform(held)
    first = F.row_number().over(Window.partitionBy("location_id").orderBy("item_id")) == 1
    count = F.when(first, F.col("_older") + 1).otherwise(F.lit(1)).cast("bigint")
    return {
        "silver.stock": sound(final).withColumn("record_count", count).select(*table.column_names),
        "silver.rejected_stock": rejected(final, silver.REJECTED_STOCK.column_names),
    }


def _newest_of_location(judged: DataFrame) -> DataFrame:
    """The records without the sound ones of a location's older days; `_older`: how many of these there were."""
    of_location = Window.partitionBy("location_id")
    is_sound = F.size("reasons") == 0
    newest = F.max(F.when(is_sound, F.col("run_date"))).over(of_location)
    replaced = judged.withColumn("_replaced", F.coalesce(is_sound & (F.col("run_date") < newest), F.lit(False)))
    counted = replaced.withColumn("_older", F.count_if("_replaced").over(of_location))
    return counted.where(~F.col("_replaced"))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_stock")
