"""Records of advertising logs into clean ad events and rejected ones, with the reasons."""

from __future__ import annotations

from pyspark.sql import DataFrame

from jobs.transforms import ledger, log_days
from schemas.run import RunContext


def clean_ad_events(
    bronze_ad_events: DataFrame,
    bronze_files: DataFrame,
    ad_events: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """silver.ad_events and silver.rejected_ad_events, each record in the partition of its file; silver.cleaned_ad_days.

    Like clean_events, but a campaign or an item need not be known: an advertising log may be the first to name it.
    """
    return log_days.split(ledger.AD_EVENTS, bronze_ad_events, bronze_files, ad_events, run.deployment)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_ad_events")
