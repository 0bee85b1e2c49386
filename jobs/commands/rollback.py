"""Rollback of a date: its gold tables get the rows of an earlier good publication, with one commit per table.

`python -m jobs.commands.rollback --run-date 2017-12-03 --conf conf/complete_journey.toml [--rows-of 2017-12-01]`
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner import quality
from jobs.runner.cli import exit_code, parse_date
from jobs.runner.findings import refusal
from jobs.runner.lake import Lake
from jobs.runner.publish import measured
from jobs.runner.records import figure_row, recorded
from jobs.runner.session import session
from schemas import TABLES
from schemas.contract import PARTITION
from schemas.deployment import load
from schemas.errors import ConfError, DataError

JOB = "rollback"


def earlier_publication(
    lake: Lake, run_date: dt.date, rows_of: dt.date | None, publication: str | None = None
) -> list[dict[str, Any]]:
    """The rows of ops.publications to roll back to.

    Without `rows_of`, the date's publication before its current one; where that is its first, the current publication
    of the newest earlier date. With `rows_of`, that date's current publication; for run_date itself, the one before.
    A second rollback undoes the first: after several bad publications, `publication` (its id or the first characters)
    selects one of this date. ConfError where there is none.
    """
    publications = lake.rows("ops.publications", run_date)
    own = [row for row in publications if row[PARTITION] == run_date]
    before = [row for row in own if not row["current"]]
    others = [row for row in publications if row[PARTITION] < run_date and row["current"]]
    if publication:
        chosen, name = (
            [row for row in own if row["publication_id"].startswith(publication)],
            f"{run_date} {publication!r}",
        )
        if len({row["publication_id"] for row in chosen}) != 1:
            raise ConfError(f"ops.publications has not one publication of {name}; {_listed(own)}")
    elif rows_of is not None and rows_of != run_date:
        chosen, name = [row for row in others if row[PARTITION] == rows_of], str(rows_of)
    elif before:
        newest = max(row["published_at"] for row in before)
        chosen, name = [row for row in before if row["published_at"] == newest], f"an earlier run of {run_date}"
    else:
        newest_night = max((row[PARTITION] for row in others), default=None)
        chosen = [] if rows_of else [row for row in others if row[PARTITION] == newest_night]
        name = f"{run_date} or of a night before"
    if not own and not rows_of:
        raise ConfError(f"{run_date} was never published: there is nothing to take back")
    if not chosen:
        dates = ", ".join(sorted({str(row[PARTITION]) for row in others})) or "none"
        raise ConfError(f"ops.publications has no publication of {name}; nights published before: {dates}")
    return chosen


def _listed(publications: Sequence[Mapping[str, Any]]) -> str:
    """Each publication of a date: the start of its id, its time, the date of its rows, and whether it is current."""
    by_id = {
        row["publication_id"]: f"{row['publication_id'][:8]} ({row['published_at']:%Y-%m-%d %H:%M:%S} UTC, rows of "
        f"{row['rows_of']}{', current' * row['current']})"
        for row in sorted(publications, key=lambda row: row["published_at"])
    }
    return f"its publications: {', '.join(by_id.values()) or 'none'}"


def roll_back(
    lake: Lake, run_date: dt.date, rows_of: dt.date | None = None, publication: str | None = None
) -> list[dict[str, Any]]:
    """Check and publish the rows of an earlier publication as run_date's; the rows of ops.publications used."""
    with recorded(lake, JOB, run_date) as record:
        chosen = earlier_publication(lake, run_date, rows_of, publication)
        frames = {row["table_name"]: _rows_then(lake, row, run_date) for row in chosen}
        metadata = {key: record[key] for key in ("run_id", "job", "code_version", "run_date")}
        rows, figures = [], []
        for row in chosen:
            name = row["table_name"]
            own = metadata | {"model_version": row["model_version"]}
            version = lake.replace(name, frames[name], [run_date], own)
            same = {key: row[key] for key in ("table_name", "row_count", "model_version", "rows_of")}
            now = {"publication_id": record["run_id"], "published_at": record["started_at"], "current": True}
            rows.append({PARTITION: run_date, "version": version, **now, **same})
            table_figures = measured(lake, run_date, TABLES[name], frames[name])
            figures += [figure_row(record, name, figure) for figure in table_figures]
        lake.join("ops.publications", rows, [run_date], metadata)
        lake.append("ops.figures", figures, metadata)  # later runs are compared with these
        record["rows_written"] = {row["table_name"]: row["row_count"] for row in chosen}
        record["model_version"] = max((row["model_version"] for row in chosen if row["model_version"]), default=None)
    return chosen


def _rows_then(lake: Lake, row: Mapping[str, Any], run_date: dt.date) -> DataFrame:
    """A published table's rows with run_date as their date. DataError where they fail its checks."""
    name, then = row["table_name"], row[PARTITION]
    frame = lake.at_version(name, row["version"], then).withColumn(PARTITION, F.lit(run_date)).persist()
    audit = quality.audit(TABLES[name], frame)
    if audit.refused:
        raise refusal([(audit, frame)])
    if audit.row_count != row["row_count"]:
        raise DataError(
            f"{name}: version {row['version']} has {audit.row_count} rows of {then}, and {row['row_count']} were "
            "published"
        )
    return frame


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, roll back, print the result."""
    parser = argparse.ArgumentParser(prog="jobs.commands.rollback", description=__doc__)
    parser.add_argument("--run-date", required=True, type=parse_date, help="the night to take back, YYYY-MM-DD")
    parser.add_argument("--rows-of", type=parse_date, help="the night whose rows it gets; default: the last good ones")
    parser.add_argument("--publication", help="which of that night's publications, by the first characters of its id")
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        spark = session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log")
        lake = Lake(spark, deployment)
        for row in roll_back(lake, given.run_date, given.rows_of, given.publication):
            print(
                f"{row['table_name']}: {given.run_date} has the {row['row_count']:,} rows of {row['rows_of']} again, "
                f"as published at {row['published_at']:%Y-%m-%d %H:%M} UTC"
            )
        print(f"{given.run_date}: {_listed(lake.rows('ops.publications', of=given.run_date))}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
