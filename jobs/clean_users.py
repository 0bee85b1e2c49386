"""User records into one row per user with attributes, and the rejected ones, with the reasons."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.deduplicate import newest
from jobs.transforms.mapping import all_reasons, canonical
from schemas import silver
from schemas.deployment import Deployment


def clean_users(bronze_users: DataFrame, *, run_date: dt.date, deployment: Deployment) -> dict[str, DataFrame]:
    """silver.users, one row per user described up to run_date, by the newest day's first record; silver.rejected_users.

    Attributes without a value are left out.
    """
    mapped = canonical(bronze_users, deployment.sources["users"], silver.USERS)
    judged = mapped.withColumn("reasons", all_reasons(silver.USERS, ("user_id", "attributes"))).persist()
    sound = judged.where("size(reasons) = 0")
    users = newest(sound, "user_id").select(
        F.lit(run_date).alias("run_date"),
        "user_id",
        F.map_filter("attributes", lambda _, value: value.isNotNull()).alias("attributes"),
        F.col("run_date").alias("described_on"),
        "record_count",
    )
    rejected = judged.where("size(reasons) > 0").select(
        F.lit(run_date).alias("run_date"), "reasons", "raw", "source_file", "source_row"
    )
    return {"silver.users": users, "silver.rejected_users": rejected}


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_users")
