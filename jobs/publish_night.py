"""The run's last word: which version of each gold table holds it, so that a reader can have all tables of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame

from jobs.reports import night_page
from jobs.transforms.publications import publication_rows, publications_frame
from schemas.run import RunContext

Records = Sequence[Mapping[str, Any]]


def publish_night(
    cleaned_days: Records,
    runs: Records,
    checks: Records,
    figures: Records,
    models: Records,
    *,
    run: RunContext,
) -> DataFrame:
    """ops.publications of run_date: this publication, a row a gold table; the earlier ones are no longer current.

    It runs when every gold table of jobs/flow.py that the deployment has was checked and replaced. A reader of
    each table at the version recorded here has all tables of one run, also while a later run replaces them one by one.
    Tables of two models are refused. `data_docs/<run_date>/index.html` gets the run's checks, figures, costs and
    numbers of records, without values; `data_docs/models/` a card of each model that it used.
    """
    tables = run.gold_tables()
    others = [row for row in runs if row["run_id"] != run.run_id]  # this one has only begun
    currency = run.deployment.prices.currency
    pages = night_page.pages(run.run_date, cleaned_days, others, checks, figures, models, currency)
    for path, page in pages.items():
        run.write_page(path, page)
    return publications_frame(publication_rows(run, tables))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("publish_night")
