"""Event records into clean events and rejected ones, with the reasons; rows in = rows kept + rows rejected."""

from __future__ import annotations

from pyspark.sql import DataFrame

from jobs.transforms import ledger, log_days
from jobs.transforms.catalogue import catalogue_of
from schemas.run import RunContext


def clean_events(
    bronze_events: DataFrame,
    bronze_files: DataFrame,
    items: DataFrame,
    rejected_items: DataFrame,
    events: DataFrame,
    *,
    run: RunContext,
) -> dict[str, DataFrame]:
    """silver.events and silver.rejected_events, each record in the partition of its file; silver.cleaned_days.

    A record is rejected when it cannot be read, breaks the contract or a rule of the deployment, names an item that
    is not in silver.items (if the deployment has a source of items), or repeats the event_id of another record of that
    day (sound records first, then by file and line), or of a sound record of an earlier day's files with the same
    event_date. Without an event_id in the log, a record is identified by its text and its number among the equal lines
    of its file: equal lines are as many sales (`identical_lines` of the source), and a repeated file adds none.
    A day with more rejected records than the source's `max_rejected_share` (and `min_rejected`) allows is refused, and
    the run with it. Days with a record rejected for its item are cleaned again once the item is in silver.items.
    """
    catalogue = catalogue_of(run.deployment, items, rejected_items)
    return log_days.split(ledger.EVENTS, bronze_events, bronze_files, events, run.deployment, catalogue)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_events")
