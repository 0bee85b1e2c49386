"""The page of a run_date as it is now, also where a job has failed or is still running.

`python -m jobs.commands.page --run-date 2017-12-03 --conf conf/complete_journey.toml`
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.flow import stands
from jobs.reports import night_page, shop_sections
from jobs.reports.shop_sections import BOUGHT, LISTS
from jobs.runner.cli import exit_code, parse_date
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas.access import PEOPLE
from schemas.deployment import load


def write(lake: Lake, run_date: dt.date) -> str:
    """Write data_docs/<run_date>/index.html, the cards of its models, and the page of three users; the first's path.

    Eight Spark queries, of what the run has written so far.
    """
    tables = ("silver.cleaned_days", "ops.runs", "ops.checks", "ops.figures", "ops.models")
    cleaned, runs, checks, figures, models = (lake.rows(table, run_date) for table in tables)
    found = {query: rows_of(lake, run_date, query) for query in shop_sections.QUERIES}
    users_page = f"{PEOPLE}/{run_date}.html" if found[LISTS] else ""
    pages = night_page.pages(
        *(run_date, cleaned, runs, checks, figures, models, lake.deployment.prices.currency),
        sections=shop_sections.of_shop(run_date, found),
        users_page=f"../../{users_page}" if users_page else "",
    )
    if users_page:
        pages[users_page] = shop_sections.of_users(run_date, found[LISTS], found[BOUGHT])
    for path, page in pages.items():
        lake.storage.write_text(path, page)
    return f"{lake.deployment.public_lake}/{next(iter(pages))}"


def rows_of(lake: Lake, run_date: dt.date, query: str) -> list[dict[str, Any]]:
    """The rows of a section's query over the tables of a lake; none where it lacks one of them.

    Each table is a view of its rows up to run_date: of events all, of any other table those of run_date.
    """
    kinds, views = lake.deployment.kinds, query.format(day=run_date)
    for table in sorted(set(re.findall(r"\b(?:silver|gold)\.\w+", query))):
        if not (stands(table, kinds) and lake.exists(table)):
            return []
        events = table == "silver.events"
        rows = lake.up_to(table, run_date) if events else lake.of_days(table, [run_date])
        view = f"page_{table.replace('.', '_')}"
        rows.createOrReplaceTempView(view)
        views = re.sub(rf"\b{re.escape(table)}\b", view, views)
    return [row.asDict() for row in lake.spark.sql(views).collect()]


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
