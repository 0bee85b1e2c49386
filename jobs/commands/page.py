"""The page of a run_date as it is now, also where a job has failed or is still running.

`python -m jobs.commands.page --run-date 2017-12-03 --conf conf/complete_journey.toml`
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.reports import night_page
from jobs.runner.cli import exit_code, parse_date
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas.deployment import load


def write(lake: Lake, run_date: dt.date) -> str:
    """Write data_docs/<run_date>/index.html, and the cards of its models; its path."""
    tables = ("silver.cleaned_days", "ops.runs", "ops.checks", "ops.figures", "ops.models")
    cleaned, runs, checks, figures, models = (lake.rows(table, run_date) for table in tables)
    pages = night_page.pages(run_date, cleaned, runs, checks, figures, models, lake.deployment.prices.currency)
    for path, page in pages.items():
        lake.storage.write_text(path, page)
    return f"{lake.deployment.lake}/{next(iter(pages))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, write the page, print its path."""
    parser = argparse.ArgumentParser(prog="jobs.commands.page", description=__doc__)
    parser.add_argument("--run-date", required=True, type=parse_date, help="the date of the run, YYYY-MM-DD")
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
        print(f"page: {write(lake, given.run_date)}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
