"""Seconds of the intake of Complete Journey's till lines, against the same work as a DuckDB script.

    python -m examples.complete_journey --out landing/complete_journey
    python -m bench.intake_duckdb --until 2017-12-03 --lake lake/complete_journey    # 337 days, 1.4 M lines

The script reads the files' lines, splits and casts them, judges them by the deployment's rules and by the contract of
silver.events, looks up the items, removes duplicates and writes bronze, silver and rejected Parquet. Measured beside
it: the reading alone, by the columnwise reader, line by line, and by DuckDB on one thread. With --lake, the seconds
that ops.runs of that lake has for the three jobs of --until, a first load of the same files, count as ours; the lake
must have as many accepted and rejected records, with the same reasons, as the script.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from bench.harness import Row, Timing, alternate, compare, console, on_cpu, report
from jobs.ingest_logs import format_of
from schemas import silver
from schemas.contract import Check
from schemas.deployment import Deployment, load
from udfs import fast_records
from udfs.records import FileReport, read_records

CONF = "conf/complete_journey.toml"
JOBS = ("ingest_logs", "clean_items", "clean_events")
THREADS, MEMORY = 2, "4GB"
TARGET = 0.1  # the complete intake in at most ten times the script's seconds
COLUMNWISE, LINE_BY_LINE, READ, SCRIPT = "columnwise", "line by line", "DuckDB's reading", "DuckDB's script"

LINES = """
CREATE OR REPLACE TEMP TABLE lines AS
SELECT filename, row_number() OVER () AS number, raw
FROM read_csv($files, header = false, quote = '', escape = '', delim = '\x01', columns = {'raw': 'VARCHAR'},
              filename = true)
"""
BRONZE = """
CREATE OR REPLACE TEMP TABLE bronze_{kind} AS
WITH firsts AS (
    SELECT filename, min(number) AS first, filename[{root}:] AS source_file,
           CAST(regexp_extract(filename, '(\\d{{4}}-\\d{{2}}-\\d{{2}})\\.csv$', 1) AS DATE) AS run_date
    FROM lines GROUP BY filename
)
SELECT run_date, source_file, number - first + 1 AS source_row, raw, string_split(raw, ',') AS fields,
       CASE WHEN contains(raw, '"') THEN error('a line has a quote, which this script does not read: ' || raw)
            WHEN len(string_split(raw, ',')) <> {width} THEN 'another number of fields' END AS problem
FROM lines JOIN firsts USING (filename) WHERE number > first
"""
TEXTS = "SELECT run_date, source_file, source_row, raw, problem, {columns} FROM bronze_{kind}"
ITEMS = """
CREATE OR REPLACE TEMP TABLE items AS
WITH log AS ({texts}), mapped AS (
    SELECT *, product_id AS item_id,
           lower(concat_ws(', ', product_type, product_category, package_size, log.brand)) AS text,
           concat_ws(' ', coalesce(product_type, product_category, department), package_size) AS title,
           coalesce(product_type, product_category) AS category
    FROM log
), judged AS (SELECT *, {reasons} AS reasons FROM (SELECT * REPLACE (manufacturer_id AS brand) FROM mapped))
SELECT item_id, CASE WHEN bool_or(len(reasons) = 0) THEN NULL ELSE min(array_to_string(reasons, ', ')) END AS why
FROM judged WHERE item_id IS NOT NULL GROUP BY item_id
"""
EVENTS = """
CREATE OR REPLACE TEMP VIEW judged AS
WITH log AS ({texts}), mapped AS (
    SELECT run_date, problem, raw, source_file, source_row, TRY_CAST(transaction_timestamp AS TIMESTAMP) AS occurred_at,
           transaction_timestamp,
           md5(raw) || row_number() OVER (PARTITION BY run_date, source_file, raw ORDER BY source_row) AS event_id,
           household_id AS user_id, product_id AS item_id,
           CASE WHEN TRY_CAST(quantity AS DOUBLE) < 0 THEN 'return' ELSE 'purchase' END AS event_type,
           abs(TRY_CAST(quantity AS DECIMAL(18, 3))) AS quantity,
           round(TRY_CAST(sales_value AS DOUBLE) / nullif(abs(TRY_CAST(quantity AS DOUBLE)), 0), 4) AS unit_price,
           round(TRY_CAST(sales_value AS DOUBLE), 2) AS paid, store_id AS location_id, basket_id,
           NULL::VARCHAR AS campaign_id, NULL::VARCHAR AS query, NULL::INTEGER AS position, NULL::VARCHAR AS order_id,
           NULL::VARCHAR AS session_id, NULL::VARCHAR AS channel, NULL::INTEGER AS result_count FROM log
), dated AS (
    SELECT mapped.*, coalesce(to_date(timezone('{timezone}', timezone('UTC', occurred_at))), run_date) AS event_date,
           items.item_id IS NOT NULL AS listed, why
    FROM mapped LEFT JOIN items USING (item_id)
)
SELECT *, {reasons} AS reasons FROM dated
"""
WITHIN_DAY = """
CREATE OR REPLACE TEMP TABLE unrepeated AS
SELECT * REPLACE (CASE WHEN again > 1 THEN list_append(reasons, 'duplicate of an earlier record') ELSE reasons END
                  AS reasons)
FROM (SELECT *, row_number() OVER (PARTITION BY run_date, event_id ORDER BY len(reasons) > 0, source_file, source_row)
                AS again FROM judged)
"""
OF_EARLIER_DAYS = """
CREATE OR REPLACE TEMP TABLE final AS
WITH late AS (SELECT DISTINCT event_id, event_date FROM unrepeated WHERE len(reasons) = 0 AND event_date < run_date),
first AS (SELECT event_id, event_date, min(run_date) AS first
          FROM unrepeated SEMI JOIN late USING (event_id, event_date) WHERE len(reasons) = 0 GROUP BY ALL)
SELECT unrepeated.* REPLACE (CASE WHEN len(reasons) = 0 AND first < run_date
                             THEN ['duplicate of a record of an earlier day'] ELSE reasons END AS reasons)
FROM unrepeated LEFT JOIN first USING (event_id, event_date)
"""
RULES = {
    "events": {
        "user_id is missing": "user_id IS NULL",
        "quantity is impossible (over 1,000)": "quantity > 1000",
        "nothing was paid": "paid <= 0",
    },
    "items": {
        "no product (department)": "department IN ('FUEL', 'COUPON', 'MISCELLANEOUS', 'CNTRL/STORE SUP', "
        "'POSTAL CENTER', 'PROD-WHS SALES', 'CHARITABLE CONT')",
        "no description": "product_type IS NULL AND product_category IS NULL",
    },
}
UNCAST = "occurred_at IS NULL AND transaction_timestamp IS NOT NULL"
VERDICT = """CASE WHEN item_id IS NOT NULL AND NOT listed THEN 'item_id is not in the catalogue'
    WHEN why IS NOT NULL THEN 'item: ' || why END"""


@dataclass(frozen=True)
class Judged:
    """How many till lines were accepted and rejected, and how many of these for each reason."""

    accepted: int
    rejected: int
    reasons: dict[str, int]


def files_of(deployment: Deployment, kind: str, until: dt.date) -> list[Path]:
    """Raw files of a source up to a date, by name."""
    source = deployment.sources[kind]
    named = ((path, re.search(source.day, path.name)) for path in sorted(Path(deployment.landing).glob(source.files)))
    return [path for path, day in named if day and dt.date.fromisoformat(day[1]) <= until]


def connected(threads: int) -> duckdb.DuckDBPyConnection:
    """DuckDB in at most MEMORY, with what it lacks of the contract's SQL."""
    connection = duckdb.connect(config={"threads": threads, "memory_limit": MEMORY})
    connection.execute("CREATE MACRO to_date(moment) AS CAST(moment AS DATE)")
    connection.execute("CREATE MACRO regexp_like(text, pattern) AS regexp_matches(text, pattern)")
    return connection


def read(connection: duckdb.DuckDBPyConnection, deployment: Deployment, kind: str, until: dt.date) -> int:
    """Table bronze_<kind>: the records of a source, each with its text, place and fields; their number."""
    connection.execute(LINES, {"files": [str(path) for path in files_of(deployment, kind, until)]})
    root = len(deployment.landing) + 2
    width = len(deployment.sources[kind].columns)
    connection.execute(BRONZE.format(kind=kind, width=width, root=root))
    connection.execute("DROP TABLE lines")
    return _count(connection, f"bronze_{kind}")


def intake(deployment: Deployment, until: dt.date, out: Path, threads: int = THREADS) -> Judged:
    """Bronze, silver and rejected till lines as Parquet in `out`."""
    with connected(threads) as connection:
        read(connection, deployment, "items", until)
        wanted = ("item_id", "text", "title", "category", "brand")
        checks = [check for check in silver.ITEMS.row_checks() if check.column in wanted]
        texts = _texts(deployment, "items")
        connection.execute(ITEMS.format(texts=texts, reasons=_reasons(RULES["items"], checks)))
        read(connection, deployment, "events", until)
        broken = {"occurred_at is no TIMESTAMP": UNCAST, **RULES["events"]}
        checks = [check for check in silver.EVENTS.row_checks() if check.name != "occurred_at_present"]
        broken["occurred_at is missing"] = "occurred_at IS NULL AND transaction_timestamp IS NULL"
        reasons = _reasons(broken, checks, VERDICT)
        texts = _texts(deployment, "events")
        connection.execute(EVENTS.format(texts=texts, reasons=reasons, timezone=deployment.timezone))
        connection.execute(WITHIN_DAY)
        connection.execute(OF_EARLIER_DAYS)
        connection.execute("DROP TABLE unrepeated")
        kept = ", ".join(silver.EVENTS.column_names)
        for name, query in {
            "bronze": "SELECT * FROM bronze_events",
            "silver": f"SELECT {kept} FROM final WHERE len(reasons) = 0",
            "rejected": "SELECT run_date, item_id, reasons, raw, source_file, source_row FROM final "
            "WHERE len(reasons) > 0",
        }.items():
            connection.execute(f"COPY ({query}) TO '{out / name}.parquet' (FORMAT parquet)")
        counted = connection.execute(
            "SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM final) GROUP BY reason"
        ).fetchall()
        rejected = _count(connection, "final WHERE len(reasons) > 0")
        return Judged(_count(connection, "final") - rejected, rejected, dict(counted))


def _texts(deployment: Deployment, kind: str) -> str:
    """The raw columns of a source, trimmed, empty ones null. (Of spaces, the only white space in these files.)"""
    fields = (
        f"nullif(trim(fields[{place}]), '') AS {name}"
        for place, name in enumerate(deployment.sources[kind].columns, start=1)
    )
    return TEXTS.format(kind=kind, columns=", ".join(fields))


def _reasons(rules: dict[str, str], checks: Sequence[Check], more: str = "NULL") -> str:
    """SQL: the list of reasons to reject a record. It is built only of records that have one."""
    held = {check.reason: str(check.sql).replace("`", '"') for check in checks}
    broken = {reason: f"coalesce({sql}, false)" for reason, sql in rules.items()}
    broken |= {reason: f"NOT coalesce({sql}, true)" for reason, sql in held.items()}
    cases = [f"CASE WHEN {sql} THEN '{reason}' END" for reason, sql in broken.items()]
    any_broken = " OR ".join([f"({sql})" for sql in broken.values()] + [f"({more}) IS NOT NULL"])
    listed = f"list_filter([{', '.join([*cases, more])}], lambda reason: reason IS NOT NULL)"
    return (
        f"CASE WHEN problem IS NOT NULL THEN ['unreadable: ' || problem] WHEN {any_broken} THEN {listed} "
        "ELSE []::VARCHAR[] END"
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)


def columnwise(deployment: Deployment, until: dt.date) -> int:
    """All till lines as Arrow batches; their number."""
    return sum(batch.num_rows for batch in _batches(deployment, until, careful=False))


def line_by_line(deployment: Deployment, until: dt.date) -> int:
    """The same by the careful reader."""
    return sum(batch.num_rows for batch in _batches(deployment, until, careful=True))


def _batches(deployment: Deployment, until: dt.date, careful: bool) -> Iterator[pa.RecordBatch]:
    source = deployment.sources["events"]
    for path in files_of(deployment, "events", until):
        given = (path.read_bytes(), path.name, format_of(source), FileReport())
        yield from fast_records.as_batches(read_records(*given)) if careful else fast_records.read_batches(*given)


def of_lake(lake: Path, until: dt.date) -> tuple[Judged, float]:
    """What a lake has of a first load up to a date, and the seconds of its three jobs."""
    in_days = pc.field("run_date") <= until
    accepted = DeltaTable(str(lake / "silver/events")).to_pyarrow_dataset().count_rows(filter=in_days)
    rejected = DeltaTable(str(lake / "silver/rejected_events")).to_pyarrow_dataset().to_table(["reasons"], in_days)
    runs = DeltaTable(str(lake / "ops/runs")).to_pyarrow_dataset().to_table(["job", "status", "seconds", "run_date"])
    seconds = {
        run["job"]: run["seconds"]
        for run in runs.to_pylist()
        if run["job"] in JOBS and run["status"] == "done" and run["run_date"] == until
    }
    if set(seconds) != set(JOBS):
        raise LookupError(f"{lake}: ops.runs must have a run of {', '.join(JOBS)} of {until} that is done")
    reasons = Counter(reason for row in rejected["reasons"].to_pylist() for reason in row)
    return Judged(accepted, rejected.num_rows, dict(reasons)), sum(seconds.values())


def measured(deployment: Deployment, until: dt.date, rounds: int, lake: Path | None) -> list[Row]:
    """The rows of the report. ValueError where two readers, or the script and the lake, do not agree."""
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, connected(1) as database:

        def kept(name: str, value: object) -> None:
            if results.setdefault(name, value) != value:
                raise ValueError(f"{name}: {value} and {results[name]} from the same files")

        timings = alternate(
            {
                COLUMNWISE: (lambda: kept("till lines", columnwise(deployment, until)), 1),
                LINE_BY_LINE: (lambda: kept("till lines", line_by_line(deployment, until)), 1),
                READ: (lambda: kept("till lines", read(database, deployment, "events", until)), 1),
                SCRIPT: (lambda: kept("judged", intake(deployment, until, Path(folder))), 1),
            },
            rounds,
        )
        lines = results["till lines"]
        rows = [
            compare(f"reading {lines:,} till lines; peer: {name}", on_cpu(1), timings[COLUMNWISE], timings[name], "s")
            for name in (LINE_BY_LINE, READ)
        ]
        if lake is not None:
            judged, seconds = of_lake(lake, until)
            kept("judged", judged)
            ours = Timing((seconds,) * rounds)
            rows.append(compare(f"intake; peer: {SCRIPT}", on_cpu(THREADS), ours, timings[SCRIPT], "s", TARGET))
    console().print(f"{SCRIPT}: {timings[SCRIPT].value('s'):.1f} s on {THREADS} threads; {results['judged']}")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", type=dt.date.fromisoformat, default=dt.date(2017, 12, 3))
    parser.add_argument("--landing", help="default: the deployment's")
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    report(measured(load(CONF, landing=given.landing), given.until, given.rounds, given.lake))


if __name__ == "__main__":
    main()
