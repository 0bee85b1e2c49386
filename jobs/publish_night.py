"""The run's last word: which version of each gold table holds it, so that a reader can have all tables of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame

from jobs.reports import night_page
from jobs.transforms.publications import publication_rows, publications_frame
from schemas.contract import PARTITION
from schemas.run import RunContext

Records = Sequence[Mapping[str, Any]]


def publish_night(
    cleaned_days: Records,
    runs: Records,
    checks: Records,
    figures: Records,
    *,
    run: RunContext,
) -> DataFrame:
    """ops.publications of run_date: this publication, a row a gold table; the earlier ones are no longer current.

    It runs when every gold table of jobs/flow.py that the deployment has was checked and replaced. A reader of
    each table at the version recorded here has all tables of one run, also while a later run replaces them one by one.
    Tables of two models are refused. `data_docs/<run_date>/index.html` gets the run's checks, figures and rejected
    records, without values.
    """
    tables = run.gold_tables()
    of_date = [row for row in runs if row[PARTITION] == run.run_date and row["status"] == "done"]
    last: dict[str, Mapping[str, Any]] = {}  # of a date that has run several times, each job's last run counts
    for row in sorted(of_date, key=lambda row: (row["started_at"], row["run_id"])):
        last[row["job"]] = row
    last_ids = {row["run_id"] for row in last.values()}
    cleaned = [row for row in cleaned_days if row[PARTITION] == run.run_date]
    last_rows = ([row for row in records if row["run_id"] in last_ids] for records in (checks, figures))
    run.write_page(f"data_docs/{run.run_date}/index.html", night_page.render(run.run_date, cleaned, *last_rows))
    return publications_frame(publication_rows(run, tables))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("publish_night")
