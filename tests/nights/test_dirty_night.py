"""Dirty rows and files: rejected with line and reason, or the run stops and changes nothing."""

from __future__ import annotations

import datetime as dt
import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest

from tests.nights.test_night import intake, last_run, read, run, versions
from tests.support import tiny_shop

DIRT = {
    tiny_shop.HEADER: "unreadable: the header again",
    "too,few": "unreadable: 2 fields, the header has 7",
    "1,U01,S01,1,1,T0,2024-03-15 10:00:00,more,fields": "unreadable: 9 fields, the header has 7",
    "2,U01,S01,many,1,T0,2024-03-15 10:00:00": "quantity is no DECIMAL(18,3)",
    "3,U01,S01,1,1,T0,2024-13-15 10:00:00": "occurred_at is no TIMESTAMP",
    "4,U01,S01,1,1,T0,": "occurred_at is missing",
    "5,U01,S01,1,1,T0,2024-03-16 10:00:00": "an event must not be dated after its file",
    "6,U01,S01,1,-1,T0,2024-03-15 10:00:00": "amount is negative",
    "7,U01,S99,1,1,T0,2024-03-15 10:00:00": "item_id is not in the catalogue",
    "8,U01,V01,1,1,T0,2024-03-15 10:00:00": "item: no product",
    "9,U01,,1,1,T0,2024-03-15 10:00:00": "item_id is missing (only a search may lack it)",
    "10,U01,S01,0,1,T0,2024-03-15 10:00:00": "quantity must be at least 0.001 and at most 100000",
    "14,U01,S01,1,NaN,T0,2024-03-15 10:00:00": "unit_price must be at least 0 and at most 1000000",
    "15,U01,S01,1,1,T0,0024-03-15 10:00:00": "an event must not be dated before 1970",
    "16,U01,S01,1,1,T0,10:00:00": "occurred_at is no TIMESTAMP",
    "17,U01,S01,1,1,T0,now": "occurred_at is no TIMESTAMP",
    '18,U01,S01,1,1,T0,"2024-03-15': "unreadable: a quote is not closed",
    "19,U0\0001,S01,1,1,T0,2024-03-15 10:00:00": "unreadable: NUL characters",
}


def test_dirty_rows_are_rejected_with_their_line_and_reason(shop, spark):
    sound = tiny_shop.sales(tiny_shop.day(14))
    late = "11,U01,S01,1,1,T0,2024-03-01 10:00:00"  # dated earlier than its file: kept, in the file's partition
    back = "12,U01,S01,-2,3,T0,2024-03-15 10:00:00"  # a return
    extra = [*DIRT, late, back, sound[0]]  # the last equals the first line of the file: a second sale
    no_records = ["", ",,,,,,"]
    file = tiny_shop.write_day(shop.parent / "landing", tiny_shop.day(14), [*extra, *no_records])
    broken = "13,U\xff1,S01,1,1,T0,2024-03-15 10:00:00".encode("latin-1")
    file.write_bytes(file.read_bytes() + broken + b"\n")
    intake(shop, spark, 14)

    day = pl.col("run_date") == tiny_shop.day(14)
    rejected = read(shop, "silver.rejected_events").filter(day)
    kept = read(shop, "silver.events").filter(day)
    rows_in = read(shop, "bronze.events").filter(day)
    assert rows_in.height == kept.height + rejected.height == len(sound) + len(extra) + 1
    reasons = {row["raw"]: row["reasons"] for row in rejected.rows(named=True)}
    for raw, reason in DIRT.items():
        assert reason in reasons[raw], raw
    assert sound[0] not in reasons
    assert reasons["13,U\\xff1,S01,1,1,T0,2024-03-15 10:00:00"] == [
        "unreadable: bytes that are not text in the deployment's encoding"
    ]
    # Where it stood: the header is line 1.
    lines = {row["raw"]: row["source_row"] for row in rejected.rows(named=True)}
    assert lines["too,few"] == len(sound) + 2 + list(DIRT).index("too,few")

    (late_event,) = kept.filter(pl.col("event_date") == dt.date(2024, 3, 1)).rows(named=True)
    assert late_event["run_date"] == tiny_shop.day(14)
    (return_event,) = kept.filter(pl.col("event_type") == "return").rows(named=True)
    assert (return_event["quantity"], return_event["unit_price"]) == (2, 1.5)

    checks = read(shop, "ops.checks").filter((pl.col("check_name") == "balance") & day)
    assert set(checks["table_name"]) == {"silver.events", "silver.items"}
    assert checks["passed"].all()


def spoil_header(file: Path) -> None:
    file.write_text(file.read_text().replace("customer,sku", "client,sku", 1))


def truncate_gzip(file: Path) -> None:
    packed = gzip.compress(file.read_bytes())
    file.unlink()
    file.with_suffix(".csv.gz").write_bytes(packed[: len(packed) // 2])


def pack_as_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("sales.csv", tiny_shop.HEADER)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_header, ["wrong header: lacks customer; it has line_id, client, sku"]),
        pytest.param(truncate_gzip, ["damaged gzip after"], marks=pytest.mark.nights),
        pytest.param(pack_as_zip, ["a zip archive", "export it as CSV"], marks=pytest.mark.nights),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_night_and_changes_nothing(shop, capsys, spoil, words):
    before = versions(shop)
    name = f"sales_{tiny_shop.day(14)}.csv"
    spoil(shop.parent / "landing" / "sales" / name)
    assert run(shop, 14) == 3
    page = (shop.parent / "lake" / "data_docs" / str(tiny_shop.day(14)) / "index.html").read_text()
    assert "Not done" in page, "a night that fails has a page that begins with why"
    error = capsys.readouterr().err
    for word in (name, "bronze.files", *words):
        assert word in error
    after = versions(shop)
    assert {table: after[table] for table in before if not table.startswith("ops.")} == {
        table: version for table, version in before.items() if not table.startswith("ops.")
    }
    record = last_run(shop, "ingest_logs")
    assert record["status"] == "refused"
    assert name in record["error"]


@pytest.mark.nights
def test_an_empty_file_is_no_events_and_is_listed(shop, spark):
    (shop.parent / "landing" / "sales" / f"sales_{tiny_shop.day(14)}.csv").write_text("")
    intake(shop, spark, 14)
    files = read(shop, "bronze.files").filter(pl.col("run_date") == tiny_shop.day(14))
    assert files.select("bytes", "record_count").rows() == [(0, 0)]
