"""The newest list of transfer costs into one row per way between two locations, and its rejected records."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.deduplicate import without_overlaps
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, mapped
from jobs.transforms.reasons import rejected, sound
from schemas import silver
from schemas.reason_codes import WAY_OVERLAPS
from schemas.run import RunContext


def clean_ways(bronze_ways: DataFrame, *, run: RunContext) -> dict[str, DataFrame]:
    """silver.ways: transfer costs between two locations, from the newest day of files; silver.rejected_ways.

    A record is rejected when it cannot be read, breaks the contract (no negative cost) or a rule of the deployment, or
    when a sound one of the same two locations precedes it, by file and line.
    """
    table = silver.WAYS
    judged = mapped(bronze_ways, run.deployment, "ways")
    judged = judged.withColumn("reasons", all_reasons(table, table.column_names))
    final = without_overlaps(judged, table.key, ["source_file", "source_row"], WAY_OVERLAPS)
    final = final.withColumn("run_date", F.lit(run.run_date)).transform(held)
    return {
        "silver.ways": sound(final).select(*table.column_names),
        "silver.rejected_ways": rejected(final, silver.REJECTED_WAYS.column_names),
    }


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_ways")
