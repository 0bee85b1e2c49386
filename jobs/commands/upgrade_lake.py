"""Upgrade of a lake of an older layout, table by table; the old tables are set aside.

`python -m jobs.commands.upgrade_lake --conf conf/complete_journey.toml`
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runner import catalog, data_files, delta_log
from jobs.runner.cli import exit_code
from jobs.runner.lake import ASIDE, Lake
from jobs.runner.session import session
from schemas import TABLES, gold
from schemas.contract import PARTITION
from schemas.deployment import load
from udfs.demand.counts import quantile

WORKPLACE = "upgrading"  # the folder of the lake in which a table is rewritten
PUBLICATIONS = "ops.publications"
UPGRADED_FROM = "upgraded_from_version"  # in the metadata of the commit that writes an upgraded table's rows
# Table -> conversion of its rows to today's contract, where that is more than new nullable columns.
CONVERTED: dict[str, Callable[[DataFrame], DataFrame]] = {}


def upgrade(spark: SparkSession, lake: Lake) -> list[str]:
    """Rewrite every table of an older layout; their names. An interrupted upgrade continues where it stopped.

    A table is rewritten beside the old one, and the two are swapped when it is complete. Old versions stay with the old
    table, below `set_aside`: from then on publications are of the newest rows, and there is no earlier publication to
    roll back to.
    """
    lake.storage.delete(WORKPLACE)
    anew = Lake(spark, lake.deployment.model_copy(update={"lake": f"{lake.deployment.lake}/{WORKPLACE}"}))
    done = []
    for table in (name for name in TABLES if name != PUBLICATIONS):
        lake.check_log(table)
        opened = delta_log.open_table(lake.path(table))
        if opened is None or not delta_log.old_layout(TABLES[table], opened):
            continue
        rows, dates = _as_today(table, catalog.stored_rows(lake, table)), _dates(lake, table)
        anew.create(table)
        if dates:
            anew.replace(table, rows, dates, {UPGRADED_FROM: opened.version()})
        _change_places(lake, table)
        done.append(table)
    done += [PUBLICATIONS] * _publications_anew(lake, anew)  # last: it names the others' versions
    lake.storage.delete(WORKPLACE)
    return done


def _dates(lake: Lake, table: str) -> list[dt.date]:
    """The run_dates of a table's rows."""
    opened = delta_log.open_table(lake.path(table))
    if opened is None:
        return []
    if opened.metadata().partition_columns:
        return sorted(dt.date.fromisoformat(str(part[PARTITION])) for part in opened.partitions())
    files = delta_log.data_files(opened)
    return sorted(set().union(*(data_files.days_in(lake.path(table), file) for file in files)))


def _publications_anew(lake: Lake, anew: Lake) -> bool:
    """Rewrite publications from before an upgrade: only current ones remain, at version 1, the only one with rows of an
    upgraded table. Whether that was necessary.
    """
    lake.check_log(PUBLICATIONS)
    opened = delta_log.open_table(lake.path(PUBLICATIONS))
    if opened is None:
        return False
    rows = delta_log.rows_of(TABLES[PUBLICATIONS], opened)
    upgraded = {table: _upgraded_at(lake, table) for table in {row["table_name"] for row in rows}}
    retained = []
    for row in rows:
        moment = upgraded[row["table_name"]]
        if moment is None or row["published_at"] >= moment:
            retained.append(row)
        elif row["current"]:
            retained.append({**row, "version": 1})
    if retained == rows and not delta_log.old_layout(TABLES[PUBLICATIONS], opened):
        return False
    created = anew.create(PUBLICATIONS)
    if retained:
        metadata = {UPGRADED_FROM: opened.version()}
        delta_log.append_rows(TABLES[PUBLICATIONS], created, anew.path(PUBLICATIONS), retained, metadata)
    _change_places(lake, PUBLICATIONS)
    return True


def _upgraded_at(lake: Lake, table: str) -> dt.datetime | None:
    """When a table was upgraded; None where it was not, or its log no longer has that commit."""
    opened = delta_log.open_table(lake.path(table))
    commits = delta_log.history(opened) if opened else []
    return next((moment for _, moment, record in commits if UPGRADED_FROM in record), None)


def _as_today(table: str, rows: DataFrame) -> DataFrame:
    """A table's rows with the columns of its contract; those that are new are null."""
    contract = TABLES[table]
    converted = CONVERTED[table](rows) if table in CONVERTED else rows
    new = [column for column in contract.columns if column.name not in converted.columns]
    return converted.withColumns({column.name: F.lit(None).cast(column.type) for column in new}).select(
        *(F.col(column.name).cast(column.type) for column in contract.columns)
    )


def _weekly(rows: DataFrame) -> DataFrame:
    """Daily rows of gold.demand_forecast summed to weeks, with the quantiles of the week."""
    ahead = F.date_diff("target_date", PARTITION) - 1
    week = F.date_add(PARTITION, 1 + 7 * F.floor(ahead / 7).cast("int")).alias("target_week")
    keys = (PARTITION, "location_id", "item_id", week)
    weeks = rows.groupBy(*keys).agg(
        F.sum("expected_units").alias("expected_units"), F.max("dispersion").alias("dispersion")
    )
    schema = ", ".join(f"{name} {gold.DEMAND_FORECAST.column(name).type}" for name in gold.DEMAND_FORECAST.column_names)
    return weeks.mapInPandas(_with_quantiles, schema)


def _with_quantiles(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for frame in frames:
        mean, dispersion = frame["expected_units"].to_numpy("float64"), frame["dispersion"].to_numpy("float64")
        for name, level in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
            frame[name] = quantile(mean, dispersion, level).astype("float64")
        frame = frame.assign(category=None, overdispersion=None)
        yield frame[gold.DEMAND_FORECAST.column_names]  # there are no profiles of these dates


def _comparable(rows: DataFrame) -> DataFrame:
    """ops.figures without the rows of daily forecasts, four times as many as the weekly ones to come."""
    return rows.where(f"NOT (table_name = '{gold.DEMAND_FORECAST.name}' AND figure = 'rows')")


CONVERTED |= {gold.DEMAND_FORECAST.name: _weekly, "ops.figures": _comparable}


def _change_places(lake: Lake, table: str) -> None:
    """Put the new table where the old one was, and the old one aside."""
    name = table.replace(".", "/")
    old, system = lake.storage.at(name)
    new, _ = lake.storage.at(f"{WORKPLACE}/{name}")
    numbers = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
    asides = (lake.storage.at(f"{ASIDE}/before_upgrade{number}/{name}")[0] for number in numbers)
    aside = next(path for path in asides if not system.exists(path))  # an earlier upgrade may have used a name
    system.mkdirs(aside.getParent())
    for source, target in ((old, aside), (new, old)):
        if not system.rename(source, target):
            raise RuntimeError(f"{table}: {source} could not be moved to {target}; move it, then run this again")


def main(arguments: Sequence[str] | None = None) -> int:
    """Upgrade the deployment's lake and print what was done."""
    parser = argparse.ArgumentParser(prog="jobs.commands.upgrade_lake", description=__doc__)
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        spark = session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log")
        done = upgrade(spark, Lake(spark, deployment))
        for table in done:
            print(f"{table}: upgraded")
        aside = f"{deployment.lake}/{ASIDE}"
        print(f"{len(done)} tables upgraded; the old ones are in {aside}" if done else "nothing to upgrade")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
