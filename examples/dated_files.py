"""Dated CSV files of the example: one a kind and date, the same rows always the same bytes."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

SIMULATED = "simulated_stock"  # the one kind that the package does not have: see examples/simulated_stock.py
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
