"""The newest list of blocked items into one row per item, and its rejected records, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.deduplicate import without_overlaps
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, mapped
from jobs.transforms.reasons import rejected, sound
from schemas import block_list
from schemas.reason_codes import BLOCKED_OVERLAPS
from schemas.run import RunContext


def clean_blocked(bronze_blocked: DataFrame, items: DataFrame, *, run: RunContext) -> dict[str, DataFrame]:
    """silver.blocked: items that no list may show, from the newest day of files; silver.rejected_blocked.

    A record is rejected when it cannot be read, breaks the contract or a rule of the deployment, or when a sound one of
    the same item precedes it, by file and line. An item that is not in silver.items stays on the list, with a warning.
    """
    table = block_list.BLOCKED
    given = [name for name in table.column_names if name != "is_known"]
    judged = mapped(bronze_blocked, run.deployment, "blocked").withColumn("reasons", all_reasons(table, given))
    final = without_overlaps(judged, table.key, ["source_file", "source_row"], BLOCKED_OVERLAPS)
    known = items.select("item_id", F.lit(True).alias("is_known"))
    final = final.drop("is_known").join(known, "item_id", "left").fillna(False, ["is_known"])
    final = final.withColumn("run_date", F.lit(run.run_date)).transform(held)
    return {
        "silver.blocked": sound(final).select(*table.column_names),
        "silver.rejected_blocked": rejected(final, block_list.REJECTED_BLOCKED.column_names),
    }


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_blocked")
