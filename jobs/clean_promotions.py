"""Records of promotion plans into clean promotions and rejected ones, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame

from jobs.transforms import ledger, log_days
from jobs.transforms.catalogue import catalogue_of
from schemas.run import RunContext


def clean_promotions(
    bronze_promotions: DataFrame,
    bronze_files: DataFrame,
    items: DataFrame,
    rejected_items: DataFrame,
    promotions: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """silver.promotions, silver.rejected_promotions, silver.cleaned_promotion_days, by the day of their file.

    Like clean_events. Of records of one day about the same item, location and first day the first counts; a
    promotion may be announced long before it starts.
    """
    catalogue = catalogue_of(run.deployment, items, rejected_items)
    return log_days.split(ledger.PROMOTIONS, bronze_promotions, bronze_files, promotions, run.deployment, catalogue)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_promotions")
