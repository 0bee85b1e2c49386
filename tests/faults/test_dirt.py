"""Thousands of dirty rows through the real intake: in = kept + rejected, and every row as the oracle has it."""

from __future__ import annotations

import datetime as dt
import gzip
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs.flow import INTAKE
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.faults import dirt, oracle, oracle_records
from tests.faults.oracle import DUPLICATE
from tests.support import tiny_conf, tiny_shop
from udfs import fast_records
from udfs.records import FileFormat, FileReport, Record, read_records

Key = tuple[str, int]
KEPT = ("event_id", "user_id", "item_id", "event_type", "quantity", "unit_price", "location_id")


@dataclass(frozen=True)
class Shop:
    """How one deployment's files are written. `bad` marks bytes that are no text there (see dirt.encoded)."""

    encoding: str
    delimiter: str
    bad: tuple[str, ...]
    own_id: bool = False  # its lines carry an event_id

    def __str__(self) -> str:
        return f"{self.encoding} {self.delimiter!r}{' own ids' if self.own_id else ''}"

    def format(self, columns: Sequence[str]) -> FileFormat:
        return FileFormat(columns, self.delimiter, self.encoding)

    def deployment(self, root: Path) -> Path:
        """The TOML file of a tiny shop below `root` whose files are written this way."""
        text = tiny_conf.CONF.format(
            lake=root / "lake", landing=root / "landing", spark=root / "spark.conf", base="default"
        )
        for files in ('files = "sales/*"', 'files = "catalogue/*.csv"'):
            told = f'encoding = "{self.encoding}"\ndelimiter = "{self.delimiter}"\nmax_rejected_share = 1.0'
            told = told.replace("\t", "\\t")
            text = text.replace("max_rejected_share = 0.5\n", "").replace(files, f"{files}\n{told}")
        if self.own_id:
            text = text.replace("[sources.events.map]", '[sources.events.map]\nevent_id = "line_id"')
        (root / "spark.conf").write_text(tiny_conf.PROPERTIES)
        conf = root / "dirty_shop.toml"
        conf.write_text(text)
        return conf


UTF_8 = ("\udcff", "\udce2\udc82", "\udced\udca0\udc80", "\udcc0\udcaf", "\udce9")
SHOPS = [
    Shop("utf-8", ",", UTF_8),
    Shop("utf-8", "|", UTF_8, own_id=True),
    Shop("latin-1", "\t", ("\udcff", "\udc80")),  # where every byte is a character
    Shop("cp1252", ";", ("\udc81", "\udc8d", "\udc9d")),
    Shop("utf-16", ",", ("\ud800", "\udfff"), own_id=True),
]


def write(root: Path, shop: Shop, rows: int, number: int) -> list[oracle_records.Record]:
    """Raw files of `rows` drawn lines below `root`; their records, events first, judged by the oracle."""
    landing, day = root / "landing", dirt.DAY
    for folder in ("sales", "catalogue"):
        (landing / folder).mkdir(parents=True)
    bad, delimiter = list(shop.bad), shop.delimiter
    sales = dirt.drawn(dirt.till_lines(delimiter, bad), rows * 6 // 7, number)
    things = dirt.drawn(dirt.catalogue_lines(delimiter, bad), rows - len(sales), number)
    sound = [delimiter.join((sku, *pair)) for sku, pair in tiny_shop.skus().items()] + [
        f"V01{delimiter}{delimiter}service"
    ]
    big = "utf-16-be" if shop.encoding == "utf-16" else shop.encoding
    mark = "\ufeff" if shop.encoding in ("utf-16", "utf-8") else ""
    till, listed = (delimiter.join(columns) for columns in (oracle_records.EVENT_COLUMNS, oracle_records.ITEM_COLUMNS))
    half = len(sales) // 2
    contents = {
        f"sales/sales_{day}.csv": dirt.as_file(till, sales[:half], shop.encoding, number),
        f"sales/sales_{day}_late.csv.gz": dirt.as_file(mark + till, sales[half:], big, number + 1),
        f"catalogue/catalogue_{tiny_shop.day(-120)}.csv": dirt.as_file(listed, sound, shop.encoding, number),
        f"catalogue/catalogue_{day}.csv": dirt.as_file(listed, things, shop.encoding, number),
    }
    judged: dict[str, list[oracle_records.Record]] = {"sales": [], "catalogue": []}
    for name, content in contents.items():
        (landing / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        kind = name.split("/")[0]
        columns = oracle_records.EVENT_COLUMNS if kind == "sales" else oracle_records.ITEM_COLUMNS
        of_day = dt.date.fromisoformat(name.split("_")[1][:10])
        judged[kind] += oracle_records.records(name, of_day, content, columns, delimiter, shop.encoding)
    for record in judged["catalogue"]:
        oracle.judge_item(record)
    items, refused = oracle.catalogue(judged["catalogue"])
    for record in judged["sales"]:
        oracle.judge_event(record, items, refused, shop.own_id)
    oracle.mark_duplicates(judged["sales"])
    return judged["sales"] + judged["catalogue"]


def compared(root: Path, shop: Shop, spark: SparkSession, rows: int, number: int) -> tuple[Counter[str], str]:
    """Run the intake over `rows` drawn rows and compare each; how often each reason was found, and that in words."""
    started = time.monotonic()
    judged = write(root, shop, rows, number)
    drawn = time.monotonic()
    lake = Lake(spark, load(shop.deployment(root)))
    for job in INTAKE:
        run_job.run(job.name, lake, dirt.DAY)
    seconds = time.monotonic() - drawn

    def read(table: str) -> pl.DataFrame:
        return pl.read_delta(f"{root}/lake/{table.replace('.', '/')}")

    events = [record for record in judged if record.file.startswith("sales")]
    things = [record for record in judged if record.file.startswith("catalogue")]
    same_records(events, read("bronze.events"), shop)
    same_records(things, read("bronze.items"), shop)
    same_files(judged, read("bronze.files"))
    same_rejects(events, read("silver.rejected_events"))
    same_rejects(oracle.told_once(things), read("silver.rejected_items"))
    kept = same_events(events, read("silver.events"))
    same_items(things, read("silver.items"))
    reasons = Counter(reason for record in judged for reason in record.reasons)
    return reasons, (
        f"{shop}: {len(judged):,} rows compared, {kept:,} of {len(events):,} events kept, "
        f"{len(reasons)} different reasons; drawn in {drawn - started:.0f} s, run in {seconds:.0f} s"
    )


def by_place(frame: pl.DataFrame) -> dict[Key, dict]:
    rows = {(row["source_file"], row["source_row"]): row for row in frame.rows(named=True)}
    assert len(rows) == frame.height, "a record stands in the table twice"
    return rows


def same(name: str, found: dict, wanted: dict, records: dict) -> None:
    """Every key in both, with equal values; the message shows the first few records that differ."""
    wrong = [key for key in wanted | found if found.get(key) != wanted.get(key)]
    told = [
        f"{key} {records.get(key)}\n  found  {found.get(key)}\n  wanted {wanted.get(key)}"[:1500] for key in wrong[:5]
    ]
    assert not wrong, f"{name}: {len(wrong)} of {len(wanted)} differ\n" + "\n".join(told)


def same_records(judged: list[oracle_records.Record], bronze: pl.DataFrame, shop: Shop) -> None:
    """Bronze has each record at its line, as its text, from which its bytes can be told."""
    rows, lines = by_place(bronze), {(r.file, r.row): r for r in judged}
    same("raw", {key: row["raw"] for key, row in rows.items()}, {key: r.raw for key, r in lines.items()}, {})
    for key, record in lines.items():
        encoding = shop.encoding
        if encoding == "utf-16":
            encoding = "utf-16-be" if record.file.endswith(".gz") else "utf-16-le"
        assert oracle_records.bytes_of(record, rows[key]["raw"], encoding) == record.content, key
        assert (rows[key]["problem"] is None) == record.readable, key
        assert rows[key]["run_date"] == record.day


def same_files(judged: list[oracle_records.Record], files: pl.DataFrame) -> None:
    found = {row["source_file"]: (row["record_count"], row["unreadable_count"]) for row in files.rows(named=True)}
    records, unreadable = Counter(r.file for r in judged), Counter(r.file for r in judged if not r.readable)
    same("bronze.files", found, {name: (count, unreadable[name]) for name, count in records.items()}, {})


def same_rejects(judged: list[oracle_records.Record], rejected: pl.DataFrame) -> None:
    """Rejected are the records with reasons, with these reasons and no other, and with their text."""
    rows, lines = by_place(rejected), {(r.file, r.row): r for r in judged if r.reasons}
    found = {key: (sorted(row["reasons"]), row["raw"]) for key, row in rows.items()}
    same("rejected", found, {key: (sorted(r.reasons), r.raw) for key, r in lines.items()}, lines)


def same_events(judged: list[oracle_records.Record], events: pl.DataFrame) -> int:
    """Kept are the others, with these values; how many."""
    events = events.with_columns(pl.col("occurred_at").dt.timestamp("us"), pl.col("event_date").cast(pl.Int32))
    names = (*KEPT, "occurred_at", "event_date")
    found = {key: {name: repr(row[name]) for name in names} for key, row in by_place(events).items()}
    lines = {(r.file, r.row): r for r in judged if not r.reasons}
    same("kept", found, {key: {name: repr(r.values[name]) for name in names} for key, r in lines.items()}, lines)
    return len(lines)


def same_items(judged: list[oracle_records.Record], items: pl.DataFrame) -> None:
    wanted, _ = oracle.catalogue(judged)
    found = {row["item_id"]: row for row in items.rows(named=True)}
    told = {item: {name: row[name] for name in wanted.get(item, {})} for item, row in found.items()}
    same("items", told, wanted, {})


@pytest.mark.parametrize("shop", SHOPS, ids=str)
def test_records_are_read_as_the_oracle_reads_them(shop, tmp_path):
    judged = write(tmp_path, shop, 400, number=7)
    for name, columns in (("sales", oracle_records.EVENT_COLUMNS), ("catalogue", oracle_records.ITEM_COLUMNS)):
        for file in sorted((tmp_path / "landing" / name).iterdir()):
            report, place = FileReport(), f"{name}/{file.name}"
            read = list(read_records(file.read_bytes(), place, shop.format(columns), report))
            found = {(place, r.row): (r.raw, r.problem and [f"unreadable: {r.problem}"]) for r in read}
            wanted = {
                (r.file, r.row): (
                    r.raw,
                    None if r.readable else [reason for reason in r.reasons if reason != DUPLICATE],
                )
                for r in judged
                if r.file == place
            }
            same(place, found, wanted, {})
            assert report.problem is None
            same_columnwise(file.read_bytes(), place, shop, columns, read, report)


def same_columnwise(
    content: bytes, place: str, shop: Shop, columns: list[str], records: list[Record], report: FileReport
) -> None:
    """The columnwise reader gives the same records and report, also where the blocks are of a few lines."""
    for block_bytes in (fast_records.BLOCK_BYTES, 300):
        found = FileReport()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast_records, "BLOCK_BYTES", block_bytes)
            batches = list(fast_records.read_batches(content, place, shop.format(columns), found))
        rows = {row["source_row"]: Record(*row.values()) for batch in batches for row in batch.to_pylist()}
        same(f"{place} columnwise", rows, {record.row: record for record in records}, {})
        assert found == report


def test_some_dirty_rows_are_as_the_oracle_has_them(tmp_path, spark):
    reasons, _ = compared(tmp_path, SHOPS[0], spark, 700, number=1)
    assert len(reasons) > 15


@pytest.mark.faults
@pytest.mark.parametrize("number", range(len(SHOPS)))
def test_dirty_rows_are_as_the_oracle_has_them(number, tmp_path, spark, capsys):
    reasons, told = compared(tmp_path, SHOPS[number], spark, 2_000, number=number)
    with capsys.disabled():
        sys.stdout.write(f"\n{told}\n")
    assert len(reasons) > 20
