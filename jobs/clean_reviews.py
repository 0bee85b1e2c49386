"""Records of reviews into clean reviews with personal data masked, and rejected ones, with the reasons."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms import ledger, log_days
from jobs.transforms.catalogue import catalogue_of
from schemas.reviewed import MASKS
from schemas.run import RunContext

WRITTEN = ("title", "text")


def clean_reviews(
    bronze_reviews: DataFrame,
    bronze_files: DataFrame,
    items: DataFrame,
    rejected_items: DataFrame,
    reviews: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """silver.reviews, silver.rejected_reviews, silver.cleaned_review_days, by the day of their file.

    Like clean_events. Rejected are also stars out of 1 to 5, reviews without stars and text, and those of an item that
    is not in the catalogue. E-mail addresses, telephone numbers and names (after "my name is", or as a signature) are
    masked in titles and texts; `masked` of the ledger is how many. Rejected records keep their line as it came.
    """
    catalogue = catalogue_of(run.deployment, items, rejected_items)
    tables = log_days.split(ledger.REVIEWS, bronze_reviews, bronze_files, reviews, run.deployment, catalogue)
    accepted, days = tables["silver.reviews"], tables["silver.cleaned_review_days"]
    masked = accepted.groupBy("run_date").agg(F.sum(sum(map(_found, WRITTEN), F.lit(0))).alias("masked"))
    return tables | {
        "silver.reviews": accepted.withColumns({name: _masked(F.col(name)) for name in WRITTEN}),
        "silver.cleaned_review_days": days.join(masked, "run_date", "left").fillna(0, ["masked"]),
    }


def _masked(text: Column) -> Column:
    return reduce(lambda value, mask: F.regexp_replace(value, mask[1], mask[0]), MASKS.items(), text)


def _found(name: str) -> Column:
    """How many values of a column are masked."""
    counts = [F.coalesce(F.regexp_count(name, F.lit(pattern)), F.lit(0)) for pattern in MASKS.values()]
    return reduce(Column.__add__, counts).cast("bigint")


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_reviews")
