"""The newest list of judgements into one row per query and item, and its rejected records, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import catalogue_of, with_item_verdict
from jobs.transforms.deduplicate import without_overlaps
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, mapped
from jobs.transforms.reasons import rejected, sound
from schemas import searched
from schemas.reason_codes import JUDGEMENT_OVERLAPS
from schemas.run import RunContext


def clean_judgements(
    bronze_judgements: DataFrame, items: DataFrame, rejected_items: DataFrame, *, run: RunContext
) -> dict[str, DataFrame]:
    """silver.judgements: judged items of judged queries, from the newest day of files; silver.rejected_judgements.

    A record is rejected when it cannot be read, breaks the contract or a rule of the deployment, names an item that is
    not in silver.items, or when a sound one of the same query and item precedes it, by file and line.
    """
    table = searched.JUDGEMENTS
    canonical = mapped(bronze_judgements, run.deployment, "judgements")
    judged = with_item_verdict(canonical, catalogue_of(run.deployment, items, rejected_items)).withColumn(
        "reasons", F.concat(all_reasons(table, table.column_names), "_item_reasons")
    )
    final = without_overlaps(judged, table.key, ["source_file", "source_row"], JUDGEMENT_OVERLAPS)
    final = final.withColumn("run_date", F.lit(run.run_date)).transform(held)
    return {
        "silver.judgements": sound(final).select(*table.column_names),
        "silver.rejected_judgements": rejected(final, searched.REJECTED_JUDGEMENTS.column_names),
    }


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_judgements")
