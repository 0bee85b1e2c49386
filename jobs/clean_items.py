"""Item records into one row per item: the newest day's description, the most frequent one of that day."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.mapping import all_reasons, completed, mapped
from jobs.transforms.reasons import rejected, sound
from jobs.transforms.top_n import top_n
from schemas import silver
from schemas.run import RunContext

DESCRIBED_BY = ("text", "title", "category", "brand")


def clean_items(bronze_items: DataFrame, *, run: RunContext) -> dict[str, DataFrame]:
    """silver.items, one row per item known up to run_date, and silver.rejected_items, the records that describe none.

    An item described by several records keeps the description of the newest day; of that day's the most frequent;
    of these the first in the alphabet.
    """
    canonical = completed(mapped(bronze_items, run.deployment, "items"), silver.ITEMS, DESCRIBED_BY)
    titled = canonical.withColumn("title", F.coalesce("title", "text"))
    judged = titled.withColumn("reasons", all_reasons(silver.ITEMS, ("item_id", *DESCRIBED_BY))).persist()

    described = sound(judged).groupBy("item_id", "run_date", *DESCRIBED_BY).agg(F.count("*").alias("records"))
    newest = top_n(described, ["item_id"], [F.desc("run_date"), F.desc("records"), *DESCRIBED_BY], 1)
    counts = described.groupBy("item_id").agg(F.sum("records").alias("record_count"))
    items = newest.join(counts, "item_id", "inner").select(
        F.lit(run.run_date).alias("run_date"),
        "item_id",
        *DESCRIBED_BY,
        F.col("run_date").alias("described_on"),
        "record_count",
    )
    refused = rejected(judged.withColumn("run_date", F.lit(run.run_date)), silver.REJECTED_ITEMS.column_names)
    return {"silver.items": items, "silver.rejected_items": refused}


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_items")
