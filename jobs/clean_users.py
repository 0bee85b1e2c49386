"""User records into one row per user with attributes, and the rejected ones, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import pseudonyms
from jobs.transforms.deduplicate import newest
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, mapped
from jobs.transforms.reasons import rejected, sound
from schemas import silver
from schemas.run import RunContext


def clean_users(bronze_users: DataFrame, *, run: RunContext) -> dict[str, DataFrame]:
    """silver.users, one row per user described up to run_date, by the newest day's first record; silver.rejected_users.

    Attributes without a value are left out.
    """
    canonical = mapped(bronze_users, run.deployment, "users")
    judged = canonical.withColumn("reasons", all_reasons(silver.USERS, ("user_id", "attributes")))
    judged = pseudonyms.hidden(judged, run.deployment).transform(held)
    users = newest(sound(judged), "user_id").select(
        F.lit(run.run_date).alias("run_date"),
        "user_id",
        F.map_filter("attributes", lambda _, value: value.isNotNull()).alias("attributes"),
        F.col("run_date").alias("described_on"),
        "record_count",
    )
    refused = rejected(judged.withColumn("run_date", F.lit(run.run_date)), silver.REJECTED_USERS.column_names)
    return {"silver.users": users, "silver.rejected_users": refused}


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_users")
